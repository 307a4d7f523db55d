"""Sample a file of prompts into a file of completions (JSON Lines). A second start continues."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.lib import private
from annotate.pools.rules import BadPrompt, canonical_messages
from models_worker import provenance
from models_worker.engine.params import derive_seed
from models_worker.engine.types import Sampler, SampleRequest, SampleResult, SamplingParams

# Prompts in memory.
CHUNK = 64
# Bad lines that an error quotes.
LISTED = 20


class BadFile(Exception):
    """The message lists the bad lines with reasons."""


@dataclass(frozen=True)
class Asked:
    """id: by default the number of the line."""

    id: str
    messages: list[dict[str, str]]


@dataclass(frozen=True)
class Order:
    """model, revision: of the policy, for every line."""

    k: int
    params: SamplingParams
    seed: int
    model: str
    revision: str
    keep_tokens: bool


@dataclass
class Outcome:
    written: int = 0
    failed: int = 0
    skipped: int = 0


def sample_file(
    prompts: Path,
    out: Path,
    sampler: Sampler,
    order: Order,
    *,
    complain: Callable[[str], None],
    skip_bad_lines: bool = False,
) -> Outcome:
    """Append K completions of each prompt to `out`. `complain` receives a sentence for each failure and bad line.

    Raises BadFile before sampling starts, unless `skip_bad_lines`.
    """
    # First, so that a bad line at the end is reported now and not after hours.
    problems: list[str] = []
    with prompts.open(encoding="utf-8") as lines:
        for _asked in read(lines, problems.append):
            pass
    if problems and not skip_bad_lines:
        problem = _("%(lines)s\nCorrect these lines, or leave them out with --skip-bad-lines.")
        raise BadFile(problem % {"lines": _listed(problems)})
    for problem in problems:
        complain(problem)
    done = _finished(out)
    outcome = Outcome(skipped=len(problems))
    with (
        prompts.open(encoding="utf-8") as lines,
        # Path.open takes no opener.
        open(out, "a", encoding="utf-8", opener=private.opener) as completions,
    ):
        asked = read(lines, lambda _problem: None)
        while chunk := list(islice(asked, CHUNK)):
            missing = {each.id: [k for k in range(order.k) if (each.id, k) not in done] for each in chunk}
            _sample(chunk, missing, sampler, order, completions, outcome, complain)
    return outcome


def read(lines: Iterable[str], bad_line: Callable[[str], None]) -> Iterator[Asked]:
    """`bad_line` receives problems of lines without `prompt` (text or messages) or `messages`."""
    named: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            asked = _asked(line, number)
            if (first := named.setdefault(asked.id, number)) != number:
                problem = _("Line %(first)d also has the id “%(id)s”. The id decides the seed: give each line its own.")
                raise BadPrompt(problem % {"id": asked.id, "first": first})
        except (ValueError, BadPrompt) as error:
            bad_line(_("Line %(number)d: %(error)s") % {"number": number, "error": error})
        else:
            yield asked


def _asked(line: str, number: int) -> Asked:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise BadPrompt(_("It is not a JSON object."))
    raw = fields.get("messages", fields.get("prompt"))
    messages = canonical_messages([{"role": "user", "content": raw}] if isinstance(raw, str) else raw)
    plain = [{"role": message["role"], "content": message["content"]} for message in messages]
    return Asked(str(fields.get("id", number)), plain)


def _listed(problems: list[str]) -> str:
    listed = problems[:LISTED]
    if more := len(problems) - len(listed):
        listed.append(
            ngettext("%(count)d more line cannot be used.", "%(count)d more lines cannot be used.", more)
            % {"count": more}
        )
    return "\n".join(listed)


def _finished(out: Path) -> set[tuple[str, int]]:
    """Removes an incomplete last line, which a killed process left."""
    if not out.exists():
        return set()
    done, whole = set(), 0
    with out.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                fields = json.loads(line)
                done.add((str(fields["id"]), int(fields["k"])))
            except (ValueError, KeyError, TypeError) as error:
                problem = _("%(file)s has lines that are not completions of an earlier start. Give another file.")
                raise BadFile(problem % {"file": out}) from error
        file.truncate(whole)
    return done


def _sample(
    chunk: Iterable[Asked],
    missing: Mapping[str, list[int]],
    sampler: Sampler,
    order: Order,
    completions: TextIO,
    outcome: Outcome,
    complain: Callable[[str], None],
) -> None:
    # It loads Jinja, which web servers lack.
    from models_worker.engine.chat import ChatError, Overruns

    overruns = Overruns()
    requests, prompts, hashes = [], {each.id: each for each in chunk}, {}
    for each in prompts.values():
        if not missing[each.id]:
            continue
        try:
            rendered = sampler.render(each.messages, max_new_tokens=order.params.max_new_tokens)
        except ChatError as error:
            outcome.failed += 1
            complain(_("Prompt %(id)s: %(error)s") % {"id": each.id, "error": error})
            overruns.note(error)
            continue
        overruns.note(None)
        hashes[each.id] = rendered.sha256
        requests += [
            SampleRequest(
                prompt_id=each.id,
                k=k,
                prompt_ids=rendered.ids,
                prompt_text=rendered.text,
                params=order.params,
                seed=derive_seed(order.seed, order.revision, each.id, k),
                truncated_prompt=rendered.truncated,
            )
            for k in missing[each.id]
        ]

    def hear(result: SampleResult) -> None:
        if result.finish_reason == "error":
            outcome.failed += 1
            complain(_("Prompt %(id)s: %(error)s") % {"id": result.prompt_id, "error": result.error})
            return
        known = provenance.told(sampler, result, prompt_sha256=hashes[result.prompt_id], keep_tokens=order.keep_tokens)
        line = _line(prompts[result.prompt_id], result, order, known)
        completions.write(json.dumps(line, ensure_ascii=False) + "\n")
        completions.flush()
        outcome.written += 1

    sampler.sample(requests, on_result=hear)


def _line(asked: Asked, result: SampleResult, order: Order, known: dict[str, object]) -> dict[str, object]:
    """With the field names of `manage.py import_completions`."""
    return {
        "id": asked.id,
        "k": result.k,
        "prompt": asked.messages,
        "completion": result.text,
        "model": order.model,
        "policy_revision": order.revision,
        "finish_reason": result.finish_reason,
        "token_count": result.token_count,
        "seed": result.seed,
        "attempt": result.attempt,
        **asdict(result.params),
        "provenance": known,
    }
