import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from exports import queries
from exports.agreement.bootstrap import PROMPTS_NEEDED, Estimate
from exports.agreement.pairs import TieRule
from exports.agreement.queries import Covered, NotMeasurable, Report, check_measurable, report
from exports.queries import NoSuchCampaign


class Command(BaseCommand):
    help = "Print how often labelers who ranked the same completions agree, with 95% intervals over prompts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("campaign", metavar="CAMPAIGN", help="name or id of the campaign")
        parser.add_argument(
            "--ties",
            choices=[rule.value for rule in TieRule],
            default=TieRule.EXCLUDE.value,
            help="tied pairs are not counted, count one half if only one labeler ties them, or agree only if both do",
        )
        parser.add_argument(
            "--answers",
            choices=Covered.values,
            default=Covered.EXPORTED.value,
            help="the rankings to compare: those that an export contains (default), accepted ones of held-out labelers,"
            " or all submitted ones",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: object, **options: Any) -> None:
        try:
            (campaign,) = queries.named_campaigns([options["campaign"]])
            check_measurable(campaign)
            found = report(campaign=campaign, rule=TieRule(options["ties"]), covered=Covered(options["answers"]))
        except (NoSuchCampaign, NotMeasurable) as refused:
            raise CommandError(str(refused)) from refused
        if options["json"]:
            self.stdout.write(json.dumps(as_json(found), indent=2))
        else:
            self.stdout.write("\n".join(as_lines(found)))


def as_json(found: Report) -> dict[str, object]:
    return {
        "campaign": found.campaign.name,
        "tie_rule": found.rule.value,
        "answers": found.covered.value,
        "nothing": found.nothing,
        "cuts": {cut.name: asdict(cut.agreement) | {"sufficient": cut.agreement.sufficient} for cut in found.cuts},
        "labeler_pairs": [
            asdict(pair) | {"first": f"labeler-{pair.first}", "second": f"labeler-{pair.second}"}
            for _first, _second, pair in found.labeler_pairs
        ],
    }


def as_lines(found: Report) -> list[str]:
    lines = [
        f"{found.campaign.name}: pairwise agreement, tie rule {found.rule.value}, answers {found.covered.value}",
    ]
    if found.nothing:
        return [*lines, found.nothing]
    for cut in found.cuts:
        agreement = cut.agreement
        few = "" if agreement.sufficient else f"; insufficient data under {PROMPTS_NEEDED} countable prompts"
        lines += [
            f"{cut.name}: {agreement.prompts} shared prompts, {agreement.countable} of them countable,"
            f" {agreement.comparisons} comparisons, {agreement.pairs} pairs, {agreement.tied} of them with a tie,"
            f" {agreement.counted} in the rates{few}",
            f"  micro {in_words(agreement.micro, percent=True)}, macro {in_words(agreement.macro, percent=True)},"
            f" tau-b {in_words(agreement.tau_b)}, alpha of ratings (ordinal) {in_words(agreement.alpha)}",
        ]
    return lines


def in_words(estimate: Estimate, *, percent: bool = False) -> str:
    def number(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3f}"

    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"
