"""A line of a file as a prompt. The fields are described in the package."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext as _

from annotate.pools.actions import DuplicatePrompt, add_prompts
from annotate.pools.importers.jobs import Outcome
from annotate.pools.importers.lines import Line
from annotate.pools.models import Category, ImportJob, Kind, Source
from annotate.pools.rules import BadPrompt, PromptDraft, prepare

CONTENT: Final = ("messages", "prompt", "instruction", "shots")
COLUMNS: Final = ("kind", "source", "source_user", "category", "language", "licence", "external_id")
ALIASES: Final = {"external_id": "id", "licence": "license"}
OTHERS: Final = ("input", "instances", "system", "motivation_app", "priority")
KNOWN: Final = frozenset({*CONTENT, *COLUMNS, *ALIASES.values(), *OTHERS})
# Far longer numbers are refused in words, too, and never become an integer first.
WHOLE: Final = re.compile(r"[+-]?[0-9]{1,9}")
# As the tables of InstructGPT (arXiv 2203.02155) call them.
CATEGORIES: Final = {
    "rewrite": Category.REWRITING,
    "extract": Category.EXTRACTION,
    "qa_open": Category.OPEN_QA,
    "qa_closed": Category.CLOSED_QA,
}


def take(job: ImportJob, batch: Sequence[Line], now: datetime) -> list[Outcome]:
    """Put the prompts of a batch of lines into the job's pool."""
    outcomes, lines, prompts = [], [], []
    for line in batch:
        try:
            prompts.append(prepare(draft_of(line.fields, job.defaults)))
            lines.append(line)
        except BadPrompt as bad:
            outcomes.append(Outcome(line, refusal=str(bad)))
    for line, added in zip(lines, add_prompts(pool=job.pool, prompts=prompts, now=now), strict=True):
        refusal = "" if added.is_new else str(DuplicatePrompt(added.prompt))
        nobodys = added.is_new and added.prompt.source == Source.CUSTOMER and not added.prompt.source_user
        outcomes.append(
            Outcome(
                line,
                prompt=added.prompt,
                refusal=refusal,
                ignored=line.fields.keys() - KNOWN,
                nobodys=nobodys,
                quarantined=added.is_quarantined,
            )
        )
    return outcomes


def draft_of(fields: Mapping[str, Any], defaults: Mapping[str, str]) -> PromptDraft:
    """What a line says, and the defaults for what it does not say. Raises BadPrompt."""
    columns: dict[str, Any] = {name: _text(fields, name) or _text(fields, ALIASES.get(name, name)) for name in COLUMNS}
    if app := _text(fields, "motivation_app"):
        columns = {"source": Source.CUSTOMER, "source_user": app} | {k: v for k, v in columns.items() if v}
    content = _content(fields)
    if "shots" in content:
        columns["kind"] = columns.get("kind") or Kind.FEW_SHOT
    columns = dict(defaults) | {name: value for name, value in columns.items() if value}
    for name in ("kind", "source", "category"):
        if name in columns:
            columns[name] = _code(columns[name])
    if "category" in columns:
        columns["category"] = CATEGORIES.get(columns["category"], columns["category"])
    return replace(PromptDraft(**content), priority=_priority(fields), **columns)


def _priority(fields: Mapping[str, Any]) -> int:
    given = fields.get("priority", 0)
    digits = "" if isinstance(given, bool) else str(given).strip()
    if not WHOLE.fullmatch(digits):
        raise BadPrompt(_("The priority “%(value)s” is no whole number.") % {"value": str(given)[:40]})
    return int(digits)


def _content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of the ways to write a prompt the one this line uses, as the fields of a draft."""
    given = [name for name in CONTENT if name in fields]
    if not given:
        raise BadPrompt(_("There is no prompt: the line needs a field messages, prompt or instruction."))
    if len(given) > 1:
        raise BadPrompt(_("Write the prompt in one field: this line has %(fields)s.") % {"fields": ", ".join(given)})
    (name,) = given
    value = fields[name]
    if name == "shots":
        if not isinstance(value, Mapping):
            raise BadPrompt(_("The shots must be an object with an instruction and pairs."))
        return {"shots": value}
    if name == "instruction":
        return _instruction(fields)
    if name == "messages" and not isinstance(value, list):
        raise BadPrompt(_("The messages must be a list of objects with a role and a content."))
    messages = value if isinstance(value, list) else [{"role": "user", "content": value}]
    return {"messages": _with_system(messages, fields)}


def _instruction(fields: Mapping[str, Any]) -> dict[str, Any]:
    instruction, given = _text(fields, "instruction"), _text(fields, "input")
    instances = fields.get("instances", [])
    if not isinstance(instances, list) or not all(isinstance(instance, Mapping) for instance in instances):
        raise BadPrompt(_("The instances must be a list of objects with an input and an output."))
    if len(instances) > 1:
        pairs = [{"query": instance.get("input"), "response": instance.get("output")} for instance in instances]
        return {"shots": {"instruction": instruction, "pairs": pairs}}
    if instances:
        given = _text(instances[0], "input")
    text = f"{instruction}\n\n{given}" if given.strip() else instruction
    return {"messages": _with_system([{"role": "user", "content": text}], fields), "instruction": instruction}


def _with_system(messages: list[Any], fields: Mapping[str, Any]) -> list[Any]:
    system = _text(fields, "system")
    return [{"role": "system", "content": system}, *messages] if system.strip() else messages


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    # Ids and customers are often numbers.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadPrompt(_("The field %(name)s must be a text.") % {"name": name})
    return value


def _code(label: str) -> str:
    """A label as people write it, such as “Open QA”, as its code."""
    return label.strip().lower().replace(" ", "_").replace("-", "_")
