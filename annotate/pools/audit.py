"""Find prompts that share a text or an owner with the other side of the split, without group ids and stored hashes.

Memory: 16 bytes per prompt, 8 per few-shot example and group. An edit belongs to the owner of its root.
"""

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from annotate.lib.streaming import streaming
from annotate.pools.models import Prompt, PromptGroup, QuarantineReason, Split
from annotate.pools.quarantine import Case
from annotate.pools.rules import content_hash, example_hashes
from annotate.pools.split_rules import Use, equal_texts, owner_key, wrong_side

Hashes: TypeAlias = "array[int]"
CHUNK: Final = 1000
OWNERS_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Seen:
    prompt_id: int
    split: str
    owner: str
    text: str
    examples: Collection[str]


def find() -> list[Case]:
    """Return the prompts to quarantine. An owner keeps the side of its group, a text that of its oldest prompt.

    The result depends only on stored rows.
    """
    owners, texts = both_sides()
    if not len(owners) and not len(texts):
        return []
    by_owner: dict[str, list[Use]] = defaultdict(list)
    by_text: dict[str, list[Use]] = defaultdict(list)
    shared_owners, shared_texts = set(owners.tolist()), set(texts.tolist())
    for seen in prompts_in_use():
        if short_hash(seen.owner) in shared_owners:
            by_owner[seen.owner].append(Use(seen.prompt_id, seen.split))
        for text in (seen.text, *seen.examples):
            if short_hash(text) in shared_texts:
                by_text[text].append(Use(seen.prompt_id, seen.split, text != seen.text))
    return cases(by_owner, by_text)


def both_sides() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the short hashes of owners and texts on both sides. Groups count as uses by their owners."""
    owners: dict[str, Hashes] = {split: array("Q") for split in Split.values}
    texts: dict[str, Hashes] = {split: array("Q") for split in Split.values}
    for seen in prompts_in_use():
        owners[seen.split].append(short_hash(seen.owner))
        texts[seen.split].extend(short_hash(text) for text in (seen.text, *seen.examples))
    with streaming():
        for key, split in PromptGroup.objects.values_list("key", "split").iterator(CHUNK):
            owners[split].append(short_hash(key))
    return shared(owners), shared(texts)


def shared(hashes: Mapping[str, Hashes]) -> npt.NDArray[np.uint64]:
    train, valid = (np.frombuffer(hashes[split], dtype=np.uint64) for split in (Split.TRAIN, Split.VALID))
    return np.intersect1d(train, valid)


def cases(by_owner: Mapping[str, Collection[Use]], by_text: Mapping[str, Collection[Use]]) -> list[Case]:
    """Select by owners, then by texts among the rest."""
    sides = dict(PromptGroup.objects.filter(key__in=list(by_owner)).values_list("key", "split"))
    to_quarantine: dict[int, Case] = {}
    for owner, uses in sorted(by_owner.items()):
        for use, stays in wrong_side(uses, sides.get(owner)):
            twin = stays.prompt_id if stays else None
            to_quarantine[use.prompt_id] = Case(use.prompt_id, twin, QuarantineReason.OTHER_SIDE)
    left = {text: [use for use in uses if use.prompt_id not in to_quarantine] for text, uses in by_text.items()}
    for use, stays in equal_texts(left):
        example = use.example or stays.example
        reason = QuarantineReason.EQUAL_EXAMPLE if example else QuarantineReason.EQUAL_TEXT
        to_quarantine[use.prompt_id] = Case(use.prompt_id, stays.prompt_id, reason)
    return [to_quarantine[prompt_id] for prompt_id in sorted(to_quarantine)]


def prompts_in_use() -> Iterator[Seen]:
    after = 0
    columns = ("id", "group__split", "messages", "shots")
    in_use = Prompt.objects.filter(quarantined_at=None).order_by("id").values_list(*columns)
    while rows := list(in_use.filter(id__gt=after)[:CHUNK]):
        after = rows[-1][0]
        owner = owners_of([row[0] for row in rows])
        for prompt_id, split, messages, shots in rows:
            if prompt_id not in owner:
                continue
            text = content_hash(messages)
            examples = example_hashes(shots) - {text} if shots else ()
            yield Seen(prompt_id, split, owner[prompt_id], text, examples)


def owners_of(prompts: Sequence[int]) -> dict[int, str]:
    """Map prompt ids to owner keys. Deleted prompts are missing.

    One query per generation of edits, because a recursive query would read the whole table.
    """
    known: dict[int, tuple[int | None, str, str, int | None]] = {}
    missing = set(prompts)
    while missing:
        rows = Prompt.objects.filter(id__in=missing).values_list("id", "parent", "source", "source_user", "author")
        known |= {row[0]: row[1:] for row in rows}
        missing = {row[0] for row in known.values() if row[0] is not None} - known.keys()
    return {prompt: _owner(_root(prompt, known), known) for prompt in prompts if prompt in known}


def _root(prompt: int, known: Mapping[int, tuple[int | None, str, str, int | None]]) -> int:
    while (parent := known[prompt][0]) is not None:
        prompt = parent
    return prompt


def _owner(root: int, known: Mapping[int, tuple[int | None, str, str, int | None]]) -> str:
    _parent, source, source_user, author = known[root]
    return owner_key(source=source, source_user=source_user, author_id=author) or f"nobody:{root}"


def owners_of_many(prompts: Iterable[int]) -> Iterator[tuple[int, str]]:
    ids = np.unique(np.fromiter(prompts, dtype=np.int64))
    for start in range(0, len(ids), OWNERS_AT_ONCE):
        yield from owners_of(ids[start : start + OWNERS_AT_ONCE].tolist()).items()


def short_hash(key: str) -> int:
    """Hash to 64 bits. A million keys collide with a chance of one in ten million; `find` compares whole keys."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
