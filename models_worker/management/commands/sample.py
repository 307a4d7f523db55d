import json
import logging
from argparse import _ArgumentGroup
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from annotate.samples import queries
from annotate.samples.models import Origin, Policy, SampleRun
from annotate.samples.rules import BadExamples, canonical_examples, is_folder
from annotate.samples.runs import AllEqual
from annotate.samples.spec import DEFAULTS, FIELDS, LOADED, MAX_NEW_TOKENS, TEMPERATURE, TOP_P, K
from models_worker import checkpoints, files, runner
from models_worker.engine.types import InvalidParams, Sampler, SamplerUnusable, SamplingParams
from models_worker.loading import Unusable, load_sampler

Options = dict[str, Any]

# --template and --examples name files.
LOADED_OPTIONS = [name for name in LOADED if name not in ("chat_template", "examples")]


class Command(BaseCommand):
    help = (
        "Sample all waiting runs in this process. Needs no broker, and shares the work with running workers. Ctrl-C "
        "releases unfinished prompts. With --prompts and --out: sample a file of prompts into a file of completions, "
        "one JSON object per line; a second start continues where the first one ended."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", type=int, help="id of the run to begin with")
        file = parser.add_argument_group("from file to file")
        file.add_argument(
            "--prompts", type=Path, help='JSON lines with "prompt" (text or messages) and, if you like, "id"'
        )
        file.add_argument("--skip-bad-lines", action="store_true", help="skip lines of --prompts that cannot be used")
        file.add_argument("--out", type=Path, help="file to which completions are appended, with their provenance")
        file.add_argument("--policy", help="a registered policy: name@revision, or its name if it has one revision")
        file.add_argument("--checkpoint", help="instead of --policy: a folder, or owner/name@commit on the hub")
        file.add_argument("--template", default="", help="plain-v1 or a Jinja file; default: the tokenizer's template")
        file.add_argument("--examples", type=Path, help="a JSON file of messages to put before every prompt")
        for name in LOADED_OPTIONS:
            _add_option(file, name)
        file.add_argument("--k", type=int, default=K.default, help="completions per prompt")
        file.add_argument("--temperature", type=float, default=TEMPERATURE.default)
        file.add_argument("--top-p", type=float, default=TOP_P.default)
        file.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS.default)
        file.add_argument("--stop", action="append", default=[], help="text that ends a completion; can be repeated")
        file.add_argument("--seed", type=int, default=0)
        file.add_argument("--keep-tokens", action="store_true", help="store token ids, and logprobs at temperature 1")

    def handle(self, *args: object, **options: Any) -> None:
        if options["prompts"] or options["out"]:
            self._sample_file(options)
        else:
            self._sample_runs(options["run"])

    def _sample_runs(self, first: int | None) -> None:
        waiting = [run.id for run in queries.waiting_runs()]
        if not waiting:
            self.stdout.write("No run is waiting.")
            return
        runner.sample(first or waiting[0])
        runs = SampleRun.objects.filter(id__in=waiting).order_by("id")
        for run_id, seen in queries.progress(runs, now=timezone.now()).items():
            self.stdout.write(f"Run {run_id}: {seen.done} prompts done, {seen.failed} failed, {seen.waiting} waiting.")

    def _sample_file(self, options: Options) -> None:
        if not (options["prompts"] and options["out"]):
            raise CommandError("Give both --prompts and --out.")
        if bool(options["policy"]) == bool(options["checkpoint"]):
            raise CommandError("Give --policy or --checkpoint.")
        if options["temperature"] == 0 and options["k"] > 1:
            raise CommandError(str(AllEqual()))
        # Keeps progress bars and warnings out of the output.
        logging.getLogger("transformers").setLevel(logging.ERROR)
        try:
            params = SamplingParams(
                temperature=options["temperature"],
                top_p=options["top_p"],
                max_new_tokens=options["max_new_tokens"],
                stop=tuple(options["stop"]),
            )
            policy = _registered(options["policy"]) if options["policy"] else _described(options)
            order = files.Order(
                k=options["k"],
                params=params,
                seed=options["seed"],
                model=policy.name,
                revision=policy.revision,
                keep_tokens=options["keep_tokens"],
            )
            outcome = files.sample_file(
                options["prompts"],
                options["out"],
                _sampler(policy),
                order,
                complain=self.stderr.write,
                skip_bad_lines=options["skip_bad_lines"],
            )
        except (files.BadFile, InvalidParams, BadExamples, checkpoints.NotLoaded, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        except (Unusable, SamplerUnusable) as error:
            raise CommandError(str(error)) from error
        skipped = f" {outcome.skipped} bad lines skipped." if outcome.skipped else ""
        self.stdout.write(f"{outcome.written} completions written, {outcome.failed} failed.{skipped}")
        if outcome.failed:
            raise CommandError("Run the command again to retry those that failed.")


def _sampler(policy: Policy) -> Sampler:
    # A policy without a row was never sampled, so there are no earlier weights to compare.
    return load_sampler(policy) if policy.pk else checkpoints.sampler(policy)


def _registered(named: str) -> Policy:
    name, at, revision = named.rpartition("@")
    found = list(Policy.objects.filter(name=name, revision=revision) if at else Policy.objects.filter(name=named)[:2])
    if len(found) != 1:
        raise CommandError(f"No policy or several policies match “{named}”. Give name@revision.")
    if found[0].origin == Origin.IMPORTED:
        raise CommandError(f"“{named}” has only imported completions and cannot be sampled. Choose another policy.")
    return found[0]


def _described(options: Options) -> Policy:
    """A policy without a row."""
    checkpoint, template = options["checkpoint"], options["template"]
    if template and template != "plain-v1":
        template = Path(template).read_text(encoding="utf-8")
    examples = json.loads(options["examples"].read_text(encoding="utf-8")) if options["examples"] else []
    on_hub = not is_folder(checkpoint) and not Path(checkpoint).is_dir()
    return Policy(
        name=options["adapter"] or checkpoint,
        origin=Origin.HUB if on_hub else Origin.LOCAL,
        location=checkpoint if on_hub else str(Path(checkpoint).expanduser().resolve()),
        chat_template=template,
        examples=canonical_examples(examples),
        **{name: options[name] for name in LOADED_OPTIONS} | {"adapter": _adapter(options["adapter"])},
    )


def _add_option(group: _ArgumentGroup, name: str) -> None:
    """Add the option of a policy's field."""
    option, about, default = f"--{name.replace('_', '-')}", FIELDS[name], DEFAULTS[name]
    if default is False:
        group.add_argument(option, action="store_true", help=str(about.label))
    else:
        choices = about.choices.values if about.choices else None
        group.add_argument(option, default=default, choices=choices, help=str(about.help))


def _adapter(named: str) -> str:
    folder = Path(named).expanduser()
    return str(folder.resolve()) if named and (folder.is_dir() or is_folder(named)) else named
