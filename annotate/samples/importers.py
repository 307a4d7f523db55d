"""Import of completions. A line of the file has

    response     (or completion, or text) what the model wrote, stored unchanged; it may be empty
    id           (or prompt_id) the prompt's id in its source, from the file of the prompts
    prompt       or the prompt: a text, or (also as messages) a list of {"role", "content"}
    model        the name of the model, unless the whole file has one

and may have PARAMETERS, which are stored with the completion. An import drops another field that holds text only after
a manager's decision (see annotate/pools/importers).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.lib.text import text_hash, tidy
from annotate.pools.importers import losses
from annotate.pools.importers.fields import BadField, check_agree, check_storable, contradiction, id_of, without
from annotate.pools.importers.jobs import Outcome
from annotate.pools.importers.lines import Line
from annotate.pools.importers.prompts import spoken
from annotate.pools.models import ImportJob, Pool, Prompt
from annotate.pools.rules import BadPrompt, canonical_messages, content_hash
from annotate.samples.models import Completion, FinishReason, Origin, Policy, Stage
from annotate.samples.spec import PolicySpec

TEXT: Final = ("response", "completion", "text")
IDS: Final = ("id", "prompt_id")
PROMPT: Final = ("prompt", "messages")
PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_new_tokens",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
KNOWN: Final = frozenset({*TEXT, *IDS, *PROMPT, *PARAMETERS, "model"})
REVISION: Final = "imported"
IMPORTED: Final[dict[str, Any]] = {"revision": REVISION, "stage": Stage.BASE, "origin": Origin.IMPORTED}
MAX_CHARACTERS: Final = 200_000


class BadCompletion(Refusal):
    """Raised with its message, for one line."""


@dataclass(frozen=True)
class Draft:
    text: str
    model: str
    external_id: str
    prompt_hash: str
    parameters: dict[str, object]


def take(job: ImportJob, batch: Sequence[Line], now: datetime) -> list[Outcome]:
    """Implements Take."""
    outcomes: list[Outcome] = []
    drafts: list[tuple[Line, Draft]] = []
    for line in batch:
        try:
            draft = draft_of(without(_fields(line), job.ignore), job.defaults)
        except (BadCompletion, BadField) as bad:
            outcomes.append(_outcome(line, refusal=str(bad)))
            continue
        if refusal := losses.refusal(job, _dropped(job, line)):
            outcomes.append(_outcome(line, refusal=refusal))
        else:
            drafts.append((line, draft))
    prompts = _Prompts(job.pool, [draft for _line, draft in drafts])
    placed: list[tuple[Line, Draft, Prompt]] = []
    for line, draft in drafts:
        try:
            placed.append((line, draft, prompts.answered_by(draft)))
        except BadCompletion as bad:
            outcomes.append(_outcome(line, refusal=str(bad)))
    return outcomes + _store(placed, now)


def unused(job: ImportJob, line: Line) -> Mapping[str, object]:
    """Implements Unused."""
    try:
        draft_of(without(_fields(line), job.ignore), job.defaults)
    except (BadCompletion, BadField):
        return {}
    return _dropped(job, line)


def _dropped(job: ImportJob, line: Line) -> dict[str, object]:
    used = without(line.fields, job.ignore).keys() & KNOWN
    return {name: value for name, value in line.fields.items() if name not in used}


def _outcome(line: Line, prompt: Prompt | None = None, refusal: str = "") -> Outcome:
    return Outcome(line, prompt, refusal, ignored=line.fields.keys() - KNOWN)


def _fields(line: Line) -> Mapping[str, object]:
    """In CSV a blank cell is a blank completion if no other cell has one."""
    blank = {name: line.blank[name] for name in TEXT if name in line.blank}
    if not blank or any(name in line.fields for name in TEXT):
        return line.fields
    # A model wrote white space, but an empty cell may belong to an unused column.
    name = max(blank, key=lambda name: bool(blank[name]))
    return {name: blank[name]} | line.fields


def draft_of(fields: Mapping[str, object], defaults: Mapping[str, str]) -> Draft:
    """Raises BadCompletion or BadField."""
    texts = {name: fields[name] for name in TEXT if name in fields}
    text = next(iter(texts.values()), None)
    if any(other != text for other in texts.values()):
        raise contradiction(texts)
    for name in (*texts, *PARAMETERS, "model"):
        check_storable(name, fields.get(name))
    if text is None:
        raise BadCompletion(_("There is no completion. Add a field response, completion or text."))
    if not isinstance(text, str):
        raise BadCompletion(_no_text(text))
    if len(text) > MAX_CHARACTERS:
        raise BadCompletion(_("The completion is longer than %(max)d characters.") % {"max": MAX_CHARACTERS})
    model = fields.get("model") or defaults.get("model", "")
    if not isinstance(model, str):
        raise BadCompletion(_("The model must be a text. Write only its name."))
    model = tidy(model).strip()
    if not model:
        raise BadCompletion(_("There is no model. Add a field model, or choose a model for the whole file."))
    if len(model) > (Policy._meta.get_field("name").max_length or 0):
        raise BadCompletion(_("The name of the model is longer than 120 characters."))
    return Draft(
        text=text,
        model=model,
        external_id=_external_id(fields),
        prompt_hash=_prompt_hash(fields),
        parameters={name: fields[name] for name in PARAMETERS if name in fields},
    )


def _no_text(value: object) -> str:
    if isinstance(value, list):
        return _("The completion is a list. Write one line for each completion, with only its text.")
    if isinstance(value, dict):
        return _("The completion is an object. Write only its text.")
    return _("The completion is not a text. Write it in quotation marks, exactly as the model wrote it.")


def _external_id(fields: Mapping[str, object]) -> str:
    external_id = id_of(fields, *IDS)
    check_storable("id", external_id)
    return external_id


def _prompt_hash(fields: Mapping[str, object]) -> str:
    """The content hash of the prompt that a line quotes; "" if it quotes none, or only in a template's form."""
    hashes = {name: made for name in PROMPT if name in fields and (made := _hash_of(fields[name]))}
    check_agree(hashes, set(hashes.values()))
    return next(iter(hashes.values()), "")


def _hash_of(quoted: object) -> str:
    messages = [{"role": "user", "content": quoted}] if isinstance(quoted, str) else quoted
    try:
        return content_hash(canonical_messages(spoken(messages) if isinstance(messages, list) else messages))
    except BadPrompt:
        return ""


class _Prompts:
    def __init__(self, pool: Pool, drafts: Sequence[Draft]) -> None:
        ids = {draft.external_id for draft in drafts} - {""}
        hashes = {draft.prompt_hash for draft in drafts} - {""}
        named = pool.prompts.filter(Q(external_id__in=ids) | Q(content_hash__in=hashes))
        self.by_id: dict[str, list[Prompt]] = {}
        self.by_hash: dict[str, Prompt] = {}
        for prompt in named.only("external_id", "content_hash"):
            self.by_id.setdefault(prompt.external_id, []).append(prompt)
            self.by_hash[prompt.content_hash] = prompt

    def answered_by(self, draft: Draft) -> Prompt:
        named = self.by_id.get(draft.external_id, []) if draft.external_id else []
        quoted = self.by_hash.get(draft.prompt_hash)
        if named and quoted and quoted not in named:
            problem = _("The id “%(id)s” belongs to another prompt of this pool. Correct the id or the prompt.")
            raise BadCompletion(problem % {"id": draft.external_id})
        if len(named) == 1:
            return named[0]
        if quoted:
            return quoted
        if named:
            problem = _("Several prompts of this pool have the id “%(id)s”. Add the prompt's text.")
        elif draft.external_id:
            problem = _("No prompt of this pool has the id “%(id)s”. Import the prompts first.")
        elif draft.prompt_hash:
            problem = _("The prompt is not in this pool. Import the prompts first.")
        else:
            problem = _("The line names no prompt. Add a field id or prompt.")
        raise BadCompletion(problem % {"id": draft.external_id})


def _store(placed: Sequence[tuple[Line, Draft, Prompt]], now: datetime) -> list[Outcome]:
    policies = _policies({draft.model for _line, draft, _prompt in placed}, now)
    stored = _stored({prompt.id for _line, _draft, prompt in placed}, policies.values())
    outcomes: list[Outcome] = []
    made: list[Completion] = []
    for line, draft, prompt in placed:
        policy, refusal = policies[draft.model], ""
        completion = _row(draft, prompt, policy, now)
        key = (prompt.id, policy.id, completion.text_hash)
        if policy.origin != Origin.IMPORTED:
            refusal = _("“%(policy)s” is sampled here. Give the imported model another name.") % {"policy": policy}
        elif key in stored:
            refusal = _("The prompt already has this completion by this model.")
        else:
            stored.add(key)
            made.append(completion)
        outcomes.append(_outcome(line, prompt, refusal))
    Completion.objects.bulk_create(made)
    return outcomes


def _policies(names: set[str], now: datetime) -> dict[str, Policy]:
    """Locked, so that two files cannot store the same completion twice."""
    Policy.objects.bulk_create(
        (Policy(**PolicySpec(name=name, **IMPORTED).values(), created_at=now) for name in sorted(names)),
        ignore_conflicts=True,
    )
    imported = Policy.objects.filter(name__in=names, revision=REVISION)
    return {policy.name: policy for policy in imported.order_by("id").select_for_update(no_key=True)}


def _stored(prompt_ids: Iterable[int], policies: Iterable[Policy]) -> set[tuple[int, int, str]]:
    rows = Completion.objects.filter(run=None, prompt__in=prompt_ids, policy__in=policies)
    return set(rows.values_list("prompt_id", "policy_id", "text_hash"))


def _row(draft: Draft, prompt: Prompt, policy: Policy, now: datetime) -> Completion:
    return Completion(
        prompt=prompt,
        policy=policy,
        text=draft.text,
        text_hash=text_hash(draft.text),
        finish_reason=FinishReason.IMPORTED,
        parameters=draft.parameters,
        policy_revision=policy.revision,
        created_at=now,
    )
