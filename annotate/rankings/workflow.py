"""Labelers rate and rank the candidates of a slate without knowing their policies."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, User
from annotate.lib.wake import wake
from annotate.pools.models import Pool, Prompt
from annotate.rankings import actions, api, queries, slate_queries, slate_supply, views
from annotate.rankings.forms import RankingForm, RankingSettingsForm
from annotate.rankings.models import Candidate, RankingSettings
from annotate.rankings.rules import LETTERS
from annotate.rankings.serializers import RankingSettingsSerializer
from annotate.samples.models import FinishReason, Policy, SampleRun
from annotate.samples.tasks import FILL
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.review import accept
from annotate.work.submitting import Submission
from annotate.work.workflow import BadAnswer, Context, DemoCampaign, Part, Typed, Words, Workflow, faults

CUT_OFF = _("Cut off at the length limit")


@dataclass(frozen=True)
class Card:
    """A candidate without its policy."""

    letter: str
    text: str
    finish_note: Words = ""
    rating: str = ""
    place: str = ""
    errors: tuple[str, ...] = ()


class Rankings(Workflow):
    key = "rankings"
    label = _("Rankings")
    description = _(
        "Labelers rate and rank 4 to 9 completions of the same prompt. Ties are allowed. Labelers do not see which"
        " policy wrote a completion. Used for the reward model (RM)."
    )
    needs = _("Needs completions: sample them from a policy, or import them.")
    writes_text = False
    follows_prompts = False
    measures_agreement = True
    settings_model = RankingSettings
    settings_form = RankingSettingsForm
    settings_serializer = RankingSettingsSerializer
    task_template = "rankings/_task.html"
    answer_template = "rankings/_answer.html"
    campaign_urls = views.urlpatterns
    api_urls = api.urlpatterns

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt]:
        return queries.prompts_of(campaign)

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        if slate_queries.parts_of(campaign):
            return slate_supply.refill(campaign=campaign, now=now)
        return actions.open_slates(campaign=campaign, now=now)

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> None:
        slate_supply.revisit_prompts_from(campaign=campaign, prompt_id=min(prompts))

    def ran_out(self, *, campaign: Campaign) -> None:
        """Sample now: a labeler is waiting."""
        wake(FILL, campaign.pool_id)

    def campaigns_with(self, *, policy: Policy) -> QuerySet[Campaign]:
        return Campaign.objects.filter(rankingsettings__policies=policy)

    def campaign_of(self, *, run: SampleRun) -> Campaign | None:
        return Campaign.objects.filter(mix__versions__portions__run=run).first()

    def retrying(self, *, run: SampleRun) -> AbstractContextManager[None]:
        return slate_supply.retrying(run=run)

    def heading(self, *, task: Task) -> Words:
        return _("Rate and rank the candidates")

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        shown = actions.show(task=assignment.task, labeler=labeler, now=now)
        initial: Context
        if draft is not None:
            initial = draft.dict()
        else:
            earlier = queries.earlier_ranking(assignment.id, labeler) if assignment.rounds else None
            initial = {**queries.typed(earlier, shown)} if earlier else {}
        return _part(RankingForm(candidates=len(shown), initial=initial), shown)

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        assignment = Assignment.objects.select_related("task").get(id=assignment_id)
        shown = actions.show(task=assignment.task, labeler=labeler, now=now)
        form = RankingForm(typed, candidates=len(shown))
        if not form.is_valid():
            raise BadAnswer(_part(form, shown), faults(form))
        marks = {candidate.id: form.marks[letter] for letter, candidate in zip(form.letters, shown, strict=True)}
        return actions.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            marks=marks,
            note=form.cleaned_data["note"],
            submit_key=submit_key,
            now=now,
        )

    undo = staticmethod(actions.undo)
    accept = staticmethod(accept)

    def answer(self, *, assignment: Assignment) -> Context:
        """Ranks with their candidates, best first, under the labeler's letters."""
        ranking = assignment.ranking
        shown = queries.shown_to(assignment)
        letters = {candidate.id: (letter, candidate) for letter, candidate in zip(LETTERS, shown, strict=False)}
        placed = groupby(queries.placings(ranking), key=lambda placing: placing.rank)
        places = [
            (rank, sorted((_card(*letters[row.candidate_id], rating=str(row.rating)) for row in rows), key=_letter))
            for rank, rows in placed
        ]
        return {"places": places, "note": ranking.note}

    def settings_part(self, *, campaign: Campaign) -> Part:
        settings = campaign.rankingsettings
        return Part(
            "rankings/_settings.html",
            {
                "ranking": settings,
                "policies": settings.policies.order_by("name", "revision"),
                "mixed": bool(slate_queries.parts_of(campaign)),
            },
        )

    def campaign_part(self, *, campaign: Campaign) -> Part:
        return Part("rankings/_slates.html", views.about_slates(campaign))

    def progress_part(self, *, campaign: Campaign) -> Part:
        context = {"ranking": campaign.rankingsettings, "mixed": bool(slate_queries.parts_of(campaign))}
        return Part("rankings/_progress.html", context)

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign:
        return DemoCampaign(
            name="Rank completions",
            guideline="Ranking answers",
            guideline_text=Path(__file__).parent / "demo_guideline.md",
            columns={"overlap": 2, "cohorts": [Cohort.TRAINING, Cohort.HELD_OUT]},
            settings={"slate_max": 6},
        )


def _part(form: RankingForm, shown: Iterable[Candidate]) -> Context:
    cards = [
        _card(
            letter,
            candidate,
            rating=str(form.rating(letter).value() or ""),
            place=str(form.place(letter).value() or ""),
            errors=(*form.rating(letter).errors, *form.place(letter).errors),
        )
        for letter, candidate in zip(form.letters, shown, strict=True)
    ]
    return {"form": form, "candidates": cards}


def _card(letter: str, candidate: Candidate, *, rating: str, place: str = "", errors: tuple[str, ...] = ()) -> Card:
    completion = candidate.completion
    note = CUT_OFF if completion.finish_reason == FinishReason.LENGTH else ""
    return Card(letter, completion.text, note, rating, place, errors)


def _letter(card: Card) -> str:
    return card.letter


RANKINGS = Rankings()
