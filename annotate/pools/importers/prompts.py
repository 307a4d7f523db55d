"""Make prompts of lines (docs/imports.md)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.lib import languages
from annotate.pools.actions import DuplicatePrompt, add_prompts, other_side
from annotate.pools.importers import fields as read
from annotate.pools.importers import losses
from annotate.pools.importers.fields import BadField
from annotate.pools.importers.jobs import Outcome
from annotate.pools.importers.lines import Line
from annotate.pools.models import Category, ImportJob, Kind, Source, Split
from annotate.pools.rules import MAX_PROMPT_LENGTH, BadPrompt, Prepared, PromptDraft, prepare

CONTENT: Final = ("messages", "prompt", "instruction", "question", "shots")
NO_PROMPT = gettext_lazy("There is no prompt. Write it in a field messages, prompt or instruction.")
COLUMNS: Final = {
    "kind": ("kind", "prompt_kind"),
    "source": ("source",),
    "source_user": ("source_user", "motivation_app"),
    "category": ("category",),
    "language": ("language", "lang"),
    "licence": ("licence", "license"),
    "external_id": ("external_id", "id", "prompt_id"),
}
SYSTEM: Final = ("system", "system_prompt")
# Their text follows that of the prompt.
BELOW: Final = ("input", "context")
EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
REFERENCES: Final = ("output", "response", "completion", "reference", "answer", "answers")
INSTANCES: Final = ("instances",)
INPUTS: Final = ("input", "instances.input")
OTHERS: Final = (*INSTANCES, "history", "priority", "split")
KNOWN: Final = frozenset(
    {*CONTENT, *SYSTEM, *BELOW, *REFERENCES, *OTHERS, *(name for names in COLUMNS.values() for name in names)}
)
# Python raises for very long integers.
WHOLE: Final = re.compile(r"[+-]?[0-9]{1,9}")
# From InstructGPT (arXiv 2203.02155), Dolly and No Robots.
CATEGORIES: Final = {
    "rewrite": Category.REWRITING,
    "extract": Category.EXTRACTION,
    "information_extraction": Category.EXTRACTION,
    "qa_open": Category.OPEN_QA,
    "general_qa": Category.OPEN_QA,
    "qa_closed": Category.CLOSED_QA,
    "brainstorm": Category.BRAINSTORMING,
    "creative_writing": Category.GENERATION,
    "summarize": Category.SUMMARIZATION,
    "classify": Category.CLASSIFICATION,
}


def take(job: ImportJob, batch: Sequence[Line], now: datetime) -> list[Outcome]:
    outcomes: list[Outcome] = []
    good: list[tuple[Line, Prepared]] = []
    for line in batch:
        try:
            prepared = prepared_of(job, line)
        except (BadPrompt, BadField) as bad:
            outcomes.append(Outcome(line, refusal=str(bad)))
            continue
        if refusal := losses.refusal(job, dropped(job, line.fields)):
            outcomes.append(Outcome(line, refusal=refusal))
        else:
            good.append((line, prepared))
    refusals = other_side(pool=job.pool, prompts=[prepared for _line, prepared in good])
    outcomes += [Outcome(line, refusal=no) for (line, _prepared), no in zip(good, refusals, strict=True) if no]
    good = [each for each, no in zip(good, refusals, strict=True) if not no]
    all_added = add_prompts(pool=job.pool, prompts=[prepared for _line, prepared in good], now=now)
    for (line, prepared), added in zip(good, all_added, strict=True):
        refusal = "" if added.is_new else str(DuplicatePrompt(added.prompt))
        outcomes.append(
            Outcome(
                line,
                prompt=added.prompt,
                refusal=refusal,
                ignored=dropped(job, line.fields).keys(),
                nobodys=added.is_new and _is_nobodys(prepared.draft),
                quarantined=added.is_quarantined,
            )
        )
    return outcomes


def _is_nobodys(draft: PromptDraft) -> bool:
    return draft.source == Source.CUSTOMER and not draft.source_user and not draft.group


def prepared_of(job: ImportJob, line: Line) -> Prepared:
    draft = draft_of(read.without(line.fields, job.ignore), job.defaults)
    # Other platforms may use the same names for other groups.
    return prepare(replace(draft, group=f"{job.pool_id}:{draft.group}") if draft.group else draft)


def unused(job: ImportJob, line: Line) -> Mapping[str, object]:
    try:
        prepared_of(job, line)
    except (BadPrompt, BadField):
        return {}
    return dropped(job, line.fields)


def dropped(job: ImportJob, fields: Mapping[str, object]) -> dict[str, object]:
    """Return unused fields, those inside messages as `messages.name`. Raises BadPrompt, BadField."""
    used = read.without(fields, job.ignore)
    known = KNOWN if _content_name(used) == "question" else KNOWN - {"question"}
    known = known | {"group"} if _split(used) else known
    left_out = {name: value for name, value in fields.items() if name not in known or name not in used}
    for name in ("messages", "prompt", "question", "history"):
        # A history of one message may come without a list.
        turns = [used[name]] if isinstance(used.get(name), Mapping) else used.get(name)
        left_out |= _inside(name, turns, ("role", "content"))
        left_out |= _inside(f"{name}.content", _parts(turns), ("type", "text"))
    left_out |= _inside("instances", used.get("instances"), ("input", "output"))
    left_out |= _inside("shots", [used.get("shots")], ("instruction", "pairs"))
    shots = used.get("shots")
    pairs = shots.get("pairs") if isinstance(shots, Mapping) else None
    return left_out | _inside("shots.pairs", pairs, ("query", "response"))


def _parts(messages: object) -> list[object]:
    spoken = messages if isinstance(messages, list) else []
    contents = [message.get("content") for message in spoken if isinstance(message, Mapping)]
    return [part for content in contents if isinstance(content, list) for part in content]


def _inside(name: str, parts: object, known: tuple[str, ...]) -> dict[str, object]:
    inner_fields: dict[str, object] = {}
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping):
            for inner, value in part.items():
                # As the example, prefer a value with text.
                if (
                    inner not in known
                    and value not in EMPTY
                    and not read.holds_text(inner_fields.get(f"{name}.{inner}"))
                ):
                    inner_fields[f"{name}.{inner}"] = value
    return inner_fields


def draft_of(fields: Mapping[str, object], defaults: Mapping[str, str]) -> PromptDraft:
    """Combine the fields of a line with the defaults. Raises BadPrompt, BadField."""
    columns: dict[str, Any] = {"language": _language(fields)}
    columns |= {name: read.text_of(fields, *names) for name, names in COLUMNS.items() if name not in columns}
    columns["external_id"] = read.id_of(fields, *COLUMNS["external_id"])
    if read.text_of(fields, "motivation_app"):
        columns["source"] = columns["source"] or Source.CUSTOMER
    content = _content(fields)
    if "shots" in content:
        columns["kind"] = columns.get("kind") or Kind.FEW_SHOT
    columns = dict(defaults) | {name: value for name, value in columns.items() if value}
    for name in ("kind", "source", "category"):
        if name in columns:
            columns[name] = _code(columns[name])
    if "category" in columns:
        columns["category"] = CATEGORIES.get(columns["category"], columns["category"])
    split = _split(fields)
    # Only our own files have a split. In others a group may mean anything.
    group = read.text_of(fields, "group").strip() if split else ""
    draft = PromptDraft(**content, split=split, group=group, reference=_reference(fields), priority=_priority(fields))
    return replace(draft, **columns)


def _language(fields: Mapping[str, object]) -> str:
    given = {name: tag for name in COLUMNS["language"] if (tag := read.text_of(fields, name)).strip()}
    try:
        read.check_agree(given, {languages.canonical(tag) for tag in given.values()})
    except languages.BadLanguage as bad:
        raise BadPrompt(str(bad)) from bad
    return next(iter(given.values()), "")


def _split(fields: Mapping[str, object]) -> str:
    split = read.text_of(fields, "split").strip().lower()
    if split not in ("", *Split.values):
        raise BadPrompt(
            _(
                "The split “%(value)s” is unknown. Write one of %(known)s. Without the field split, the platform draws "
                "a side for each group."
            )
            % {"value": split[:40], "known": ", ".join(Split.values)}
        )
    return split


def _reference(fields: Mapping[str, object]) -> dict[str, object] | None:
    answers = {name: fields[name] for name in REFERENCES if fields.get(name) not in EMPTY}
    instances = fields.get("instances")
    if isinstance(instances, list) and len(instances) == 1 and isinstance(instances[0], Mapping):
        output = instances[0].get("output")
        if output not in EMPTY and answers.setdefault("output", output) != output:
            raise read.contradiction(("output", "instances.output"))
    for name, value in answers.items():
        read.check_storable(name, value)
    if len(json.dumps(answers, ensure_ascii=False)) > MAX_PROMPT_LENGTH:
        raise BadPrompt(
            _("The reference answer is longer than %(most)d characters. Shorten it.") % {"most": MAX_PROMPT_LENGTH}
        )
    return answers or None


def _priority(fields: Mapping[str, object]) -> int:
    given = fields.get("priority", 0)
    digits = "" if isinstance(given, bool) else str(given).strip()
    if not WHOLE.fullmatch(digits):
        raise BadPrompt(_("The priority “%(value)s” is not a whole number.") % {"value": read.shown(str(given), 40)})
    return int(digits)


def _content_name(fields: Mapping[str, object]) -> str:
    """Return the name of the prompt's field. A question only counts if there is no other."""
    given = [name for name in CONTENT if name in fields]
    if len(given) > 1 and "question" in given:
        given.remove("question")
    if not given:
        raise BadPrompt(str(NO_PROMPT))
    if len(given) > 1:
        raise BadPrompt(
            _("The line has a prompt in each of the fields %(fields)s. Keep one of them.")
            % {"fields": ", ".join(given)}
        )
    return given[0]


def _content(fields: Mapping[str, object]) -> dict[str, Any]:
    name = _content_name(fields)
    value = fields[name]
    if name == "shots":
        if not isinstance(value, Mapping):
            raise BadPrompt(_("The shots must be an object with an instruction and pairs."))
        return _few_shot(value, fields, *INSTANCES)
    if name == "instruction":
        return _instruction(fields)
    if name == "messages" and not isinstance(value, list):
        raise BadPrompt(_("The messages must be a list of objects with a role and a content."))
    if isinstance(value, list):
        return {"messages": _conversation(spoken(value), fields)}
    if not isinstance(value, str):
        raise BadPrompt(_("The field %(name)s must be a text or a list of messages.") % {"name": name})
    problem = _("The field %(name)s needs an instruction. Remove it, or rename the prompt to instruction.")
    _refuse_with(problem, fields, INSTANCES)
    return {"messages": _conversation([_user_message(value, fields)], fields, takes_below=True)}


def _few_shot(shots: Mapping[str, object], fields: Mapping[str, object], *unused: str) -> dict[str, object]:
    problem = _("A few-shot prompt consists of its pairs and cannot have the field %(name)s. Remove it.")
    _refuse_with(problem, fields, (*SYSTEM, *BELOW, "history", *unused))
    return {"shots": shots}


def _refuse_with(sentence: str, fields: Mapping[str, object], names: Sequence[str]) -> None:
    for name in names:
        if fields.get(name) not in EMPTY:
            raise BadPrompt(sentence % {"name": name})


def _instruction(fields: Mapping[str, object]) -> dict[str, object]:
    instruction = read.text_of(fields, "instruction")
    instances = fields.get("instances", [])
    if not isinstance(instances, list) or not all(isinstance(instance, Mapping) for instance in instances):
        raise BadPrompt(_("The instances must be a list of objects with an input and an output."))
    if len(instances) > 1:
        pairs = [{"query": instance.get("input"), "response": instance.get("output")} for instance in instances]
        return _few_shot({"instruction": instruction, "pairs": pairs}, fields)
    if instances:
        given = instances[0].get("input")
        both = {**fields, "instances.input": "" if given in EMPTY else given}
        fields = {**fields, "input": read.text_of(both, *INPUTS)}
    return {
        "messages": _conversation([_user_message(instruction, fields)], fields, takes_below=True),
        "instruction": instruction,
    }


def _user_message(text: str, fields: Mapping[str, object]) -> dict[str, object]:
    below = [given for name in BELOW if (given := read.text_of(fields, name)).strip()]
    return {"role": "user", "content": "\n\n".join([text, *below]) if text.strip() else text}


def spoken(messages: Sequence[object]) -> list[object]:
    """Join contents that are lists of texts. Raises BadPrompt for other parts."""
    return [_joined(number, message) for number, message in enumerate(messages, start=1)]


def _joined(number: int, message: object) -> object:
    if not isinstance(message, Mapping):
        return message
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        raise BadPrompt(
            _("Message %(number)d calls tools and has no text. Remove it: prompts contain only texts.")
            % {"number": number}
        )
    if not isinstance(content, list):
        return message
    for part in content:
        is_text = isinstance(part, Mapping) and part.get("type", "text") == "text"
        if not is_text or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise BadPrompt(
                _("Message %(number)d has a part that is not a text (%(kind)s). Remove it: prompts contain only texts.")
                % {"number": number, "kind": read.shown(str(kind), 40)}
            )
    return {**message, "content": "\n".join(part["text"] for part in content)}


def _conversation(messages: list[object], fields: Mapping[str, object], *, takes_below: bool = False) -> list[object]:
    if not takes_below:
        _refuse_with(
            _("The field %(name)s needs a prompt that is one text. Write it into the messages, or remove it."),
            fields,
            (*BELOW, *INSTANCES, "history"),
        )
    system = read.text_of(fields, *SYSTEM)
    before = [{"role": "system", "content": system}] if system.strip() else []
    return [*before, *_turns(fields.get("history", [])), *messages]


def _turns(history: object) -> list[object]:
    turns: list[object] = []
    for turn in history if isinstance(history, list) else [history]:
        if isinstance(turn, Mapping) and "role" in turn:
            turns.append(turn)
        elif isinstance(turn, list) and len(turn) == 2:
            turns += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
        elif turn:
            raise BadPrompt(_("The history must be a list of pairs, each a question and its answer."))
    return spoken(turns)


def _code(label: str) -> str:
    return label.strip().lower().replace(" ", "_").replace("-", "_")
