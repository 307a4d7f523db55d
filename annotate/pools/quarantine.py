"""Quarantine of prompts whose text the other side of the split uses, as a prompt or as a few-shot example.

annotate/work/quarantine.py handles their tasks.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from annotate.accounts.models import User
from annotate.pools.models import (
    ExampleText,
    Prompt,
    PromptGroup,
    QuarantineEvent,
    QuarantineMove,
    QuarantineReason,
)
from annotate.pools.split_rules import owner_key


@dataclass(frozen=True)
class Case:
    """A prompt to quarantine. `twin_id`: the prompt that it conflicts with, None if it is only the owner's group."""

    prompt_id: int
    twin_id: int | None
    reason: QuarantineReason


@dataclass
class Holders:
    by_hash: dict[str, list[Prompt]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, hashes: Collection[str]) -> Self:
        holders = cls()
        own = Prompt.objects.filter(content_hash__in=hashes, quarantined_at=None).select_related("group", "pool")
        for prompt in own.defer("search", "messages", "shots").order_by("id"):
            holders.by_hash[prompt.content_hash].append(prompt)
        examples = ExampleText.objects.filter(content_hash__in=hashes, prompt__quarantined_at=None)
        related = ("prompt__group", "prompt__pool")
        unread = ("prompt__search", "prompt__messages", "prompt__shots")
        for row in examples.select_related(*related).defer(*unread).order_by("prompt"):
            holders.by_hash[row.content_hash].append(row.prompt)
        return holders

    def add(self, prompt: Prompt, hashes: Iterable[str]) -> None:
        for text in hashes:
            self.by_hash[text].append(prompt)

    def of_text(self, text: str) -> Prompt | None:
        return next(iter(self.by_hash.get(text, ())), None)

    def opposite(self, hashes: Iterable[str], split: str) -> list[Prompt]:
        """Return the prompts on the other side with these texts, the oldest first."""
        prompts = {
            id(prompt): prompt
            for text in sorted(hashes)
            for prompt in self.by_hash.get(text, ())
            if prompt.group.split != split
        }
        # Prompts that are not stored yet have no id.
        return sorted(prompts.values(), key=lambda prompt: prompt.id or float("inf"))


def reason_of(content_hash: str, twin: Prompt) -> QuarantineReason:
    same = twin.content_hash == content_hash
    return QuarantineReason.EQUAL_TEXT if same else QuarantineReason.EQUAL_EXAMPLE


def in_the_way(prompts: Collection[Prompt]) -> dict[int, list[Prompt]]:
    """Map prompt ids to prompts on the other side that share a text. At most four queries."""
    hashes = {prompt.id: {prompt.content_hash} for prompt in prompts}
    for prompt_id, text in ExampleText.objects.filter(prompt__in=hashes).values_list("prompt", "content_hash"):
        hashes[prompt_id].add(text)
    holders = Holders.of({text for texts in hashes.values() for text in texts})
    return {prompt.id: holders.opposite(hashes[prompt.id], prompt.group.split) for prompt in prompts}


def is_on_wrong_side(prompt: Prompt) -> bool:
    """Is the group of the owner on the other side? An edit belongs to the owner of its root."""
    root = prompt
    while root.parent_id is not None:
        root = Prompt.objects.defer("search").get(id=root.parent_id)
    key = owner_key(source=root.source, source_user=root.source_user, author_id=root.author_id)
    group = PromptGroup.objects.filter(key=key).first() if key else None
    return group is not None and group.split != prompt.group.split


def mark(prompt: Prompt, *, reason: str, twin: Prompt | None, now: datetime) -> None:
    """The caller saves the columns."""
    prompt.quarantined_at, prompt.quarantine_reason, prompt.quarantine_twin = now, reason, twin


MARKED = ("quarantined_at", "quarantine_reason", "quarantine_twin", "quarantine_decided_by", "quarantine_decided_at")


def unmark(prompt: Prompt) -> None:
    prompt.quarantined_at, prompt.quarantine_reason, prompt.quarantine_twin = None, "", None
    prompt.quarantine_decided_by, prompt.quarantine_decided_at = None, None


def note(prompts: Iterable[Prompt], move: QuarantineMove, *, by: User | None, now: datetime) -> None:
    QuarantineEvent.objects.bulk_create(
        QuarantineEvent(
            prompt=prompt,
            move=move,
            reason=prompt.quarantine_reason,
            twin_id=prompt.quarantine_twin_id,
            actor=by,
            at=now,
        )
        for prompt in prompts
    )
