from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotate.lib.text import equal, is_blank
from annotate.pools.models import Kind, Source
from annotate.pools.rules import Message, Pair, PromptDraft, Shots

MIN_PAIRS = 2
MAX_PAIRS = 30
MAX_BRIEFS = 500


@dataclass(frozen=True)
class Text:
    """An instruction, and the example pairs of a few-shot one."""

    instruction: str
    pairs: tuple[Pair, ...] = ()

    def __str__(self) -> str:
        shown = [f"Input: {pair['query']}\nOutput: {pair['response']}" for pair in self.pairs]
        return "\n\n".join([self.instruction, *shown])


@dataclass(frozen=True)
class Original:
    """The prompt to rewrite: `text` is its last message, `before` the conversation that stays."""

    text: Text
    kind: str
    before: tuple[Message, ...] = field(default=())
    category: str = ""
    language: str = "en"
    licence: str = ""


def original(
    *, messages: Sequence[Message], shots: Shots | None, kind: str, category: str, language: str, licence: str
) -> Original:
    text = Text(shots["instruction"], tuple(shots["pairs"])) if shots else Text(messages[-1]["content"])
    before = () if shots else tuple(messages[:-1])
    return Original(text, kind, before, category, language, licence)


def unchanged(old: Text, new: Text) -> bool:
    """Would the new prompt be a duplicate of its source? Changed indentation counts as a change."""
    return (
        equal(old.instruction, new.instruction)
        and len(old.pairs) == len(new.pairs)
        and all(map(_same_pair, old.pairs, new.pairs))
    )


def _same_pair(one: Pair, other: Pair) -> bool:
    return equal(one["query"], other["query"]) and equal(one["response"], other["response"])


def filled_pairs(queries: Sequence[str], responses: Sequence[str]) -> list[Pair]:
    """The pairs of a form, without those whose fields are both empty."""
    rows = max(len(queries), len(responses))
    padded = (Pair(query=q, response=r) for q, r in zip(_to(rows, queries), _to(rows, responses), strict=True))
    return [pair for pair in padded if not (is_blank(pair["query"]) and is_blank(pair["response"]))]


def _to(length: int, texts: Sequence[str]) -> list[str]:
    return [*texts, *[""] * (length - len(texts))]


def prompt_draft(text: Text, *, kind: str, category: str, source: Original | None) -> PromptDraft:
    """An edit keeps the language, licence and conversation of its source."""
    columns: dict[str, Any] = {"kind": kind, "source": Source.LABELER, "category": category}
    if source:
        columns |= {"language": source.language, "licence": source.licence}
    if text.pairs:
        return PromptDraft(shots={"instruction": text.instruction, "pairs": list(text.pairs)}, **columns)
    before: Iterable[Message] = source.before if source else ()
    return PromptDraft(messages=[*before, Message(role="user", content=text.instruction)], **columns)


def needs_pairs(kind: str, source: Original | None) -> bool:
    """Does the form have pairs? A few-shot source has none if it was imported as one text."""
    return bool(source.text.pairs) if source else kind == Kind.FEW_SHOT
