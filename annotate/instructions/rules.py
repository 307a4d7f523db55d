"""What an instruction is made of and what makes a rewriting one, on plain values."""

from collections.abc import Iterable, Mapping, Sequence
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
    """What a labeler writes: the instruction, and for a few-shot one its query/response pairs."""

    instruction: str
    pairs: tuple[Pair, ...] = ()

    def __str__(self) -> str:
        """All of it in reading order, to be compared word by word."""
        shown = [f"Input: {pair['query']}\nOutput: {pair['response']}" for pair in self.pairs]
        return "\n\n".join([self.instruction, *shown])


@dataclass(frozen=True)
class Original:
    """The prompt to be rewritten: its last message is the text, the conversation before it stays."""

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
    """Is this no rewriting? The prompt would be a duplicate of its own source. Changed indentation is a change."""
    return (
        equal(old.instruction, new.instruction)
        and len(old.pairs) == len(new.pairs)
        and all(map(_same_pair, old.pairs, new.pairs))
    )


def _same_pair(one: Pair, other: Pair) -> bool:
    return equal(one["query"], other["query"]) and equal(one["response"], other["response"])


def filled_pairs(queries: Sequence[str], responses: Sequence[str]) -> list[Pair]:
    """Pairs as the form sends them, side by side; the ones left wholly empty do not count."""
    rows = max(len(queries), len(responses))
    padded = (Pair(query=q, response=r) for q, r in zip(_to(rows, queries), _to(rows, responses), strict=True))
    return [pair for pair in padded if not (is_blank(pair["query"]) and is_blank(pair["response"]))]


def _to(length: int, texts: Sequence[str]) -> list[str]:
    return [*texts, *[""] * (length - len(texts))]


def prompt_draft(text: Text, *, kind: str, category: str, source: Original | None) -> PromptDraft:
    """The prompt that comes of an instruction. A rewriting keeps its source's language, licence and conversation."""
    columns: dict[str, Any] = {"kind": kind, "source": Source.LABELER, "category": category}
    if source:
        columns |= {"language": source.language, "licence": source.licence}
    if text.pairs:
        return PromptDraft(shots={"instruction": text.instruction, "pairs": list(text.pairs)}, **columns)
    before: Iterable[Mapping[str, Any]] = source.before if source else ()
    return PromptDraft(messages=[*before, Message(role="user", content=text.instruction)], **columns)


def needs_pairs(kind: str, source: Original | None) -> bool:
    """A new few-shot instruction has pairs; of the pool's few-shot prompts those that were not imported as one text."""
    return bool(source.text.pairs) if source else kind == Kind.FEW_SHOT
