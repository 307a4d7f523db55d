import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, TypedDict, cast

from django.db.models import CharField
from django.utils.translation import gettext as _

from annotate.lib import languages
from annotate.lib.refusals import Refusal
from annotate.lib.text import is_blank, storable, tidy, tidy_within
from annotate.pools.models import MAX_PRIORITY, Category, Kind, Prompt, Source

ROLES: Final = ("system", "user", "assistant")
# Characters. Longer than any policy's context, and within PostgreSQL's limit of a search index entry.
MAX_PROMPT_LENGTH: Final = 200_000
# A page takes a third of a millisecond for each.
MAX_MESSAGES: Final = 1_000
# Characters. They are compared in memory, and grow with the square of the number of pairs.
MAX_EXAMPLES_LENGTH: Final = 20_000_000


class Message(TypedDict):
    role: str
    content: str


class Pair(TypedDict):
    query: str
    response: str


class Shots(TypedDict):
    """At least 2 pairs."""

    instruction: str
    pairs: list[Pair]


class BadPrompt(Refusal):
    """The draft is not a valid prompt."""


@dataclass(frozen=True, kw_only=True)
class PromptDraft:
    """Unchecked: `messages`, or `shots` for a few-shot instruction."""

    messages: Sequence[Mapping[str, object]] = ()
    shots: Mapping[str, object] | None = None
    kind: str = Kind.PLAIN
    source: str = Source.LABELER
    source_user: str = ""
    category: str = ""
    language: str = "en"
    licence: str = ""
    external_id: str = ""
    priority: int = 0
    reference: Mapping[str, object] | None = None
    # From an earlier export.
    split: str = ""
    group: str = ""
    # Shared by prompts with different inputs.
    instruction: str = ""


@dataclass(frozen=True)
class Prepared:
    draft: PromptDraft
    messages: list[Message]
    shots: Shots | None

    @cached_property
    def text(self) -> str:
        return prompt_text(self.messages)

    @cached_property
    def content_hash(self) -> str:
        return content_hash(self.messages)

    @cached_property
    def example_hashes(self) -> set[str]:
        return example_hashes(self.shots) - {self.content_hash} if self.shots else set()

    @property
    def hashes(self) -> set[str]:
        """The hashes of all texts that training files may contain for this prompt."""
        return {self.content_hash, *self.example_hashes}


def prepare(draft: PromptDraft) -> Prepared:
    """Check and tidy a draft. Raises BadPrompt."""
    shots = None
    if draft.shots is not None:
        if draft.messages:
            raise BadPrompt(_("Give either a prompt or few-shot pairs, not both. The prompt is made of the pairs."))
        if draft.kind != Kind.FEW_SHOT:
            raise BadPrompt(
                _("Only a few-shot prompt can have query/response pairs. Remove them, or choose the kind few-shot.")
            )
        shots = canonical_shots(draft.shots)
        draft = replace(draft, instruction=shots["instruction"])
        messages = [Message(role="user", content=render_shots(shots["instruction"], shots["pairs"]))]
    else:
        messages = canonical_messages(draft.messages)
    if sum(len(message["content"]) for message in messages) > MAX_PROMPT_LENGTH:
        raise BadPrompt(_("The prompt is longer than %(most)d characters. Shorten it.") % {"most": MAX_PROMPT_LENGTH})
    if shots:
        check_examples(len(shots["pairs"]), len(messages[0]["content"]))
    return Prepared(_tidied(draft), messages, shots)


def check_examples(pairs: int, characters: int) -> None:
    """Limit the total length of the training examples. Raises BadPrompt."""
    if pairs * characters > MAX_EXAMPLES_LENGTH:
        raise BadPrompt(
            _(
                "The %(pairs)d pairs make %(pairs)d training examples of about %(characters)d characters each. "
                "That is too long. Divide the prompt into several prompts with fewer pairs."
            )
            % {"pairs": pairs, "characters": characters}
        )


def canonical_messages(raw: object) -> list[Message]:
    """Check for an optional system message, then user and assistant in turn, the user last. Raises BadPrompt."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise BadPrompt(_("There is no prompt. Enter one."))
    if len(raw) > MAX_MESSAGES:
        raise BadPrompt(
            _("The conversation has %(messages)d messages; the limit is %(most)d. Remove messages from its beginning.")
            % {"messages": len(raw), "most": MAX_MESSAGES}
        )
    messages = [_message(number, message) for number, message in enumerate(raw, start=1)]
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    offset = len(messages) - len(turns) + 1
    for number, turn in enumerate(turns, start=offset):
        expected = "user" if (number - offset) % 2 == 0 else "assistant"
        if turn["role"] != expected:
            raise BadPrompt(
                _("Message %(number)d must be from the %(expected)s: user and assistant take turns, the user begins.")
                % {"number": number, "expected": expected}
            )
    if not turns or turns[-1]["role"] != "user":
        raise BadPrompt(_("The last message must be from the user, because it is the one that is answered."))
    return messages


def _message(number: int, raw: object) -> Message:
    if not isinstance(raw, Mapping):
        raise BadPrompt(_("Message %(number)d must have a role and a content.") % {"number": number})
    role = raw.get("role")
    if role not in ROLES:
        raise BadPrompt(
            _("Message %(number)d has the role “%(role)s”. Use system, user or assistant.")
            % {"number": number, "role": role}
        )
    if role == "system" and number > 1:
        raise BadPrompt(_("Message %(number)d is from the system, and only the first may be.") % {"number": number})
    return Message(role=role, content=_content(raw.get("content"), _("Message %(number)d") % {"number": number}))


def _content(raw: object, name: str) -> str:
    if raw is not None and not isinstance(raw, str):
        raise BadPrompt(_("%(name)s must be a text.") % {"name": name})
    if raw is None or is_blank(raw):
        raise BadPrompt(_("%(name)s is empty. Enter a text.") % {"name": name})
    return tidy_within(_storable(raw, name), MAX_PROMPT_LENGTH)


def _storable(text: str, name: str) -> str:
    if not storable(text):
        raise BadPrompt(
            _("%(name)s contains a character that cannot be stored (NUL or half of a surrogate pair). Remove it.")
            % {"name": name}
        )
    return text


def canonical_shots(raw: Mapping[str, object]) -> Shots:
    """Check and tidy few-shot pairs. Raises BadPrompt."""
    pairs = raw.get("pairs")
    if not isinstance(pairs, Sequence) or isinstance(pairs, str) or len(pairs) < 2:
        raise BadPrompt(_("A few-shot prompt needs at least two query/response pairs. Add pairs."))
    return Shots(
        instruction=_content(raw.get("instruction"), _("The instruction")),
        pairs=[_pair(number, pair) for number, pair in enumerate(pairs, start=1)],
    )


def _pair(number: int, raw: object) -> Pair:
    pair = raw if isinstance(raw, Mapping) else {}
    return Pair(
        query=_content(pair.get("query"), _("The query of pair %(number)d") % {"number": number}),
        response=_content(pair.get("response"), _("The response of pair %(number)d") % {"number": number}),
    )


def render_shots(instruction: str, pairs: Sequence[Pair]) -> str:
    *solved, last = pairs
    shown = [f"Input: {pair['query']}\nOutput: {pair['response']}" for pair in solved]
    return "\n\n".join([instruction, *shown, f"Input: {last['query']}\nOutput:"])


def shot_examples(shots: Shots) -> list[tuple[str, str]]:
    """Return the K training examples of K pairs, as (prompt text, completion).

    Each pair is the last one once, after the others in their order (arXiv 2203.02155, A.1).
    """
    pairs = shots["pairs"]
    return [
        (render_shots(shots["instruction"], [*pairs[:last], *pairs[last + 1 :], pair]), pair["response"])
        for last, pair in enumerate(pairs)
    ]


def example_hashes(shots: Shots) -> set[str]:
    return {content_hash([Message(role="user", content=text)]) for text, _response in shot_examples(shots)}


def _tidied(draft: PromptDraft) -> PromptDraft:
    for name, value, known in (
        (_("kind"), draft.kind, Kind.values),
        (_("source"), draft.source, Source.values),
        (_("use case"), draft.category, ["", *Category.values]),
    ):
        if value not in known:
            raise BadPrompt(
                _("“%(value)s” is not a valid %(name)s. Choose one of %(known)s.")
                % {"value": value, "name": name, "known": ", ".join(filter(None, known))}
            )
    if not -MAX_PRIORITY <= draft.priority <= MAX_PRIORITY:
        raise BadPrompt(
            _("The priority is %(value)d. Choose one between -%(most)d and %(most)d.")
            % {"value": draft.priority, "most": MAX_PRIORITY}
        )
    return replace(
        draft,
        language=_fitting(_language(draft.language), "language"),
        source_user=_fitting(draft.source_user, "source_user"),
        licence=_fitting(draft.licence, "licence"),
        external_id=_fitting(draft.external_id, "external_id"),
    )


def _language(tag: str) -> str:
    try:
        return languages.canonical(tag)
    except languages.BadLanguage as bad:
        raise BadPrompt(str(bad)) from bad


def _fitting(value: str, column: str) -> str:
    field = cast("CharField[str, str]", Prompt._meta.get_field(column))
    name, most = str(field.verbose_name), cast(int, field.max_length)
    value = tidy(_storable(value, name)).strip()
    if is_blank(value):
        return ""
    if len(value) > most:
        raise BadPrompt(
            _("The %(name)s is longer than %(most)d characters. Shorten it.") % {"name": name, "most": most}
        )
    return value


def prompt_text(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def content_hash(messages: Sequence[Message]) -> str:
    return messages_hash(messages, tidy)


def messages_hash(messages: Sequence[Message], form: Callable[[str], str]) -> str:
    pairs = [[message["role"], form(message["content"])] for message in messages]
    return hashlib.sha256(json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
