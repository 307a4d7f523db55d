"""What a prompt is, when two are equal, and on which side of the split a group stands. No database, no clock."""

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, TypedDict, cast

from django.db.models import CharField
from django.utils.translation import gettext as _

from annotate.lib import languages
from annotate.lib.refusals import Refusal
from annotate.lib.text import is_blank, loose_form, loose_hash, name_form, storable, tidy, tidy_within
from annotate.pools.models import MOST_PRIORITY, Category, Kind, Prompt, Source, Split

ROLES: Final = ("system", "user", "assistant")
# Far beyond any context a policy has, and below what PostgreSQL takes in one search index entry.
LONGEST_PROMPT: Final = 200_000
# A page that shows a conversation takes a third of a millisecond for each message.
MOST_MESSAGES: Final = 1_000
# Each pair of a few-shot prompt makes an example that repeats all of them, so the examples grow with the square of the
# pairs. They are all compared with other prompts, in memory.
LONGEST_EXAMPLES: Final = 20_000_000


class Message(TypedDict):
    role: str
    content: str


class Pair(TypedDict):
    query: str
    response: str


class Shots(TypedDict):
    """A few-shot instruction as a labeler writes it: K >= 2 pairs, of which K examples are made."""

    instruction: str
    pairs: list[Pair]


class BadPrompt(Refusal):
    """This is no prompt; the message says what to do about it."""


@dataclass(frozen=True, kw_only=True)
class PromptDraft:
    """A prompt as somebody brings it, unchecked: `messages`, or for a few-shot instruction `shots` instead."""

    messages: Sequence[Mapping[str, Any]] = ()
    shots: Mapping[str, Any] | None = None
    kind: str = Kind.PLAIN
    source: str = Source.LABELER
    source_user: str = ""
    category: str = ""
    language: str = "en"
    licence: str = ""
    external_id: str = ""
    # Higher comes first, in campaigns that go by it.
    priority: int = 0
    # Answers that came with it, by the names of their fields in the file; never shown to labelers.
    reference: Mapping[str, Any] | None = None
    # Of a prompt that was exported before: its side of the split, and the name of its group there.
    split: str = ""
    group: str = ""
    # What this prompt shares with others of its source: the instruction, where the input differs.
    instruction: str = ""


@dataclass(frozen=True)
class Prepared:
    """A checked prompt, as it will be stored."""

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
        """Of the training examples that an export makes of it, those whose texts are not the prompt's own."""
        return example_hashes(self.shots) - {self.content_hash} if self.shots else set()

    @property
    def hashes(self) -> set[str]:
        """All texts under which it may appear in a training file."""
        return {self.content_hash, *self.example_hashes}


def prepare(draft: PromptDraft) -> Prepared:
    """Check and tidy a draft. Raises BadPrompt."""
    shots = None
    if draft.shots is not None:
        if draft.messages:
            raise BadPrompt(_("Give either a prompt or few-shot pairs, not both: the prompt is made of the pairs."))
        if draft.kind != Kind.FEW_SHOT:
            raise BadPrompt(_("Only a few-shot prompt has query/response pairs."))
        shots = canonical_shots(draft.shots)
        draft = replace(draft, instruction=shots["instruction"])
        messages = [Message(role="user", content=render_shots(shots["instruction"], shots["pairs"]))]
    else:
        messages = canonical_messages(draft.messages)
    if sum(len(message["content"]) for message in messages) > LONGEST_PROMPT:
        raise BadPrompt(_("The prompt is longer than %(most)d characters.") % {"most": LONGEST_PROMPT})
    if shots:
        check_examples(len(shots["pairs"]), len(messages[0]["content"]))
    return Prepared(_tidied(draft), messages, shots)


def check_examples(pairs: int, characters: int) -> None:
    """Raises BadPrompt if the examples of a few-shot prompt, one for each pair, are too long together."""
    if pairs * characters > LONGEST_EXAMPLES:
        raise BadPrompt(
            _(
                "The %(pairs)d pairs make %(pairs)d examples of about %(characters)d characters, which are too many. "
                "Split the prompt into several with fewer pairs each."
            )
            % {"pairs": pairs, "characters": characters}
        )


def canonical_messages(raw: object) -> list[Message]:
    """Messages in one form: an optional system message, then user and assistant in turn, the user last.

    Contents are tidied, and none is empty. Raises BadPrompt.
    """
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise BadPrompt(_("There is no prompt."))
    if len(raw) > MOST_MESSAGES:
        raise BadPrompt(
            _("The conversation has %(messages)d messages, and at most %(most)d can be shown. Leave out its beginning.")
            % {"messages": len(raw), "most": MOST_MESSAGES}
        )
    messages = [_message(number, message) for number, message in enumerate(raw, start=1)]
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    offset = len(messages) - len(turns) + 1
    for number, turn in enumerate(turns, start=offset):
        expected = "user" if (number - offset) % 2 == 0 else "assistant"
        if turn["role"] != expected:
            raise BadPrompt(
                _("Message %(number)d must be the %(expected)s's: user and assistant take turns, and the user begins.")
                % {"number": number, "expected": expected}
            )
    if not turns or turns[-1]["role"] != "user":
        raise BadPrompt(_("The last message must be the user's: it is the one to be answered."))
    return messages


def _message(number: int, raw: object) -> Message:
    if not isinstance(raw, Mapping):
        raise BadPrompt(_("Message %(number)d must have a role and a content.") % {"number": number})
    role = raw.get("role")
    if role not in ROLES:
        raise BadPrompt(
            _("Message %(number)d has the role “%(role)s”; it must be system, user or assistant.")
            % {"number": number, "role": role}
        )
    if role == "system" and number > 1:
        raise BadPrompt(_("Message %(number)d is the system's; only the first may be.") % {"number": number})
    return Message(role=role, content=_content(raw.get("content"), _("Message %(number)d") % {"number": number}))


def _content(raw: object, name: str) -> str:
    if raw is not None and not isinstance(raw, str):
        raise BadPrompt(_("%(name)s must be a text.") % {"name": name})
    if raw is None or is_blank(raw):
        raise BadPrompt(_("%(name)s is empty.") % {"name": name})
    return tidy_within(_storable(raw, name), LONGEST_PROMPT)


def _storable(text: str, name: str) -> str:
    if not storable(text):
        raise BadPrompt(
            _("%(name)s holds a character that cannot be stored (NUL, or half of a surrogate pair). Remove it.")
            % {"name": name}
        )
    return text


def canonical_shots(raw: Mapping[str, Any]) -> Shots:
    """Raises BadPrompt unless there are an instruction and two or more pairs, none of them empty."""
    pairs = raw.get("pairs")
    if not isinstance(pairs, Sequence) or isinstance(pairs, str) or len(pairs) < 2:
        raise BadPrompt(
            _("A few-shot prompt needs two query/response pairs or more, one to ask and others to show how.")
        )
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
    """The instruction, all pairs but the last with their responses, and the last pair's query, open."""
    *solved, asked = pairs
    shown = [f"Input: {pair['query']}\nOutput: {pair['response']}" for pair in solved]
    return "\n\n".join([instruction, *shown, f"Input: {asked['query']}\nOutput:"])


def shot_examples(shots: Shots) -> list[tuple[str, str]]:
    """The K training examples of an instruction with K pairs, as (prompt text, completion).

    Each pair is asked for once, with the other K-1 in the context in their order (arXiv 2203.02155, A.1).
    """
    pairs = shots["pairs"]
    return [
        (render_shots(shots["instruction"], [*pairs[:asked], *pairs[asked + 1 :], pair]), pair["response"])
        for asked, pair in enumerate(pairs)
    ]


def example_hashes(shots: Shots) -> set[str]:
    """The content hashes of the K training examples."""
    return {content_hash([Message(role="user", content=text)]) for text, _response in shot_examples(shots)}


def _tidied(draft: PromptDraft) -> PromptDraft:
    """The draft with its columns checked against what they may hold."""
    for name, value, known in (
        (_("kind"), draft.kind, Kind.values),
        (_("source"), draft.source, Source.values),
        (_("use case"), draft.category, ["", *Category.values]),
    ):
        if value not in known:
            raise BadPrompt(
                _("“%(value)s” is no %(name)s; choose one of %(known)s.")
                % {"value": value, "name": name, "known": ", ".join(filter(None, known))}
            )
    if not -MOST_PRIORITY <= draft.priority <= MOST_PRIORITY:
        raise BadPrompt(
            _("The priority %(value)d is not between -%(most)d and %(most)d.")
            % {"value": draft.priority, "most": MOST_PRIORITY}
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
        raise BadPrompt(_("The %(name)s is longer than %(most)d characters.") % {"name": name, "most": most})
    return value


def prompt_text(messages: Sequence[Message]) -> str:
    """The messages as one text, for search and for lists."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def content_hash(messages: Sequence[Message]) -> str:
    """SHA-256, in hexadecimal: the same for conversations with the same roles and equal texts, and for no others."""
    return _spoken_hash(messages, tidy)


def _spoken_hash(messages: Sequence[Message], form: Callable[[str], str]) -> str:
    spoken = [[message["role"], form(message["content"])] for message in messages]
    return hashlib.sha256(json.dumps(spoken, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def group_key(prompt: Prepared, *, author_id: int | None) -> str:
    """What shares one side of the split with this prompt: its customer, its writer, the group it was exported with or
    its instruction, else its text.

    Names and texts enter by their loose form. So prompts that differ in spacing or in compatibility characters only are
    two prompts in one group, and a key never changes: a stored group's split was drawn from it.
    """
    draft = prompt.draft
    if owner := owner_key(source=draft.source, source_user=draft.source_user, author_id=author_id):
        return owner
    if draft.group:
        return f"imported:{name_key(draft.group)}"
    if draft.instruction:
        return f"instruction:{loose_hash(draft.instruction)}"
    return f"{ALONE}{_spoken_hash(prompt.messages, loose_form)}"


# Begins the key of a prompt that nothing else has to be kept together with.
ALONE: Final = "prompt:"


def owner_key(*, source: str, source_user: str, author_id: int | None) -> str:
    """The key of the customer or person whose prompt this is. Empty for a prompt of nobody."""
    name = name_key(source_user)
    if source == Source.CUSTOMER and name:
        return f"customer:{name}"
    if author_id is not None:
        return f"author:{author_id}"
    return f"labeler:{name}" if name else ""


def name_key(name: str) -> str:
    """The name of a customer or labeler, the same however it is spelt: see `name_form`. "" for one that shows nothing.

    A change of this rule needs a migration of the keys of groups.
    """
    key = name_form(name)
    # The form of a name can be many times longer than its column.
    return key if len(key) <= 200 else loose_hash(key)


class Use(NamedTuple):
    """That a prompt of this id and side has some text or owner; `example`: only as the text of a few-shot example."""

    prompt_id: int
    split: str
    example: bool = False


def wrong_side(uses: Collection[Use], side: str | None) -> list[tuple[Use, Use | None]]:
    """Of the uses of one owner those on the wrong side, each with the oldest one on the right side, if there is one.

    `side` is the right one; if it is None, that of the oldest prompt is.
    """
    oldest_first = sorted(uses)
    side = side or oldest_first[0].split
    stays = next((use for use in oldest_first if use.split == side), None)
    return [(use, stays) for use in oldest_first if use.split != side]


def equal_texts(by_text: Mapping[str, Collection[Use]]) -> list[tuple[Use, Use]]:
    """The uses that have to give way so that each text is on one side, with the use that each gives way to.

    As if the prompts were added again in the order of their ids: a prompt gives way if one of its texts is on the other
    side already. So the newer copy does, and what has given way makes nobody else give way.
    """
    texts: dict[int, list[tuple[str, Use]]] = {}
    for text, uses in sorted(by_text.items()):
        for use in uses:
            texts.setdefault(use.prompt_id, []).append((text, use))
    first: dict[tuple[str, str], Use] = {}
    found: list[tuple[Use, Use]] = []
    for _prompt, mine in sorted(texts.items()):
        against = [
            (use, first[text, side])
            for text, use in mine
            for side in Split.values
            if side != use.split and (text, side) in first
        ]
        if against:
            found.append(min(against, key=lambda pair: pair[1]))
            continue
        for text, use in mine:
            first.setdefault((text, use.split), use)
    return found


def draw_split(key: str, split_key: str, valid_share: float) -> Split:
    """Draw by a keyed hash: the same side for the same key at every try, and nobody without the key can foresee it."""
    digest = hmac.new(split_key.encode(), f"split:{key}".encode(), hashlib.sha256).digest()
    return Split.VALID if int.from_bytes(digest[:8], "big") < valid_share * 2**64 else Split.TRAIN
