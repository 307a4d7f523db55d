"""The split: keys of groups and owners, the draw, and conflicts."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from annotate.lib.text import loose_form, loose_hash, name_form
from annotate.pools.models import Source, Split
from annotate.pools.rules import Prepared, messages_hash

# These keys depend on a text alone.
ALONE: Final = "prompt:"


def group_key(prompt: Prepared, *, author_id: int | None) -> str:
    """Return the group's key: that of the owner, else of the imported group, the instruction or the text.

    Never change it: the sides of stored groups were drawn from their keys. Loose forms make different spacing equal.
    """
    draft = prompt.draft
    if owner := owner_key(source=draft.source, source_user=draft.source_user, author_id=author_id):
        return owner
    if draft.group:
        return f"imported:{name_key(draft.group)}"
    if draft.instruction:
        return f"instruction:{loose_hash(draft.instruction)}"
    return f"{ALONE}{messages_hash(prompt.messages, loose_form)}"


def owner_key(*, source: str, source_user: str, author_id: int | None) -> str:
    name = name_key(source_user)
    if source == Source.CUSTOMER and name:
        return f"customer:{name}"
    if author_id is not None:
        return f"author:{author_id}"
    return f"labeler:{name}" if name else ""


def name_key(name: str) -> str:
    """Return one key for all spellings of a name. A change needs a migration of stored keys."""
    key = name_form(name)
    return key if len(key) <= 200 else loose_hash(key)


class Use(NamedTuple):
    """A prompt that uses a text or owner. `example`: the text is one of its few-shot examples."""

    prompt_id: int
    split: str
    example: bool = False


def wrong_side(uses: Collection[Use], side: str | None) -> list[tuple[Use, Use | None]]:
    """Return one owner's uses that are not on `side`, each with the oldest use on it, if any.

    `side` None means the side of the oldest prompt.
    """
    oldest_first = sorted(uses)
    side = side or oldest_first[0].split
    stays = next((use for use in oldest_first if use.split == side), None)
    return [(use, stays) for use in oldest_first if use.split != side]


def equal_texts(by_text: Mapping[str, Collection[Use]]) -> list[tuple[Use, Use]]:
    """Return the uses to remove so that each text is on one side, each with a use that it conflicts with.

    Removed prompts do not count against those with higher ids.
    """
    texts: dict[int, list[tuple[str, Use]]] = {}
    for text, uses in sorted(by_text.items()):
        for use in uses:
            texts.setdefault(use.prompt_id, []).append((text, use))
    first: dict[tuple[str, str], Use] = {}
    removed: list[tuple[Use, Use]] = []
    for _prompt, mine in sorted(texts.items()):
        against = [
            (use, first[text, side])
            for text, use in mine
            for side in Split.values
            if side != use.split and (text, side) in first
        ]
        if against:
            removed.append(min(against, key=lambda pair: pair[1]))
            continue
        for text, use in mine:
            first.setdefault((text, use.split), use)
    return removed


def draw_split(key: str, split_key: str, valid_share: float) -> Split:
    """Draw a side: reproducible, and unpredictable without the key."""
    digest = hmac.new(split_key.encode(), f"split:{key}".encode(), hashlib.sha256).digest()
    return Split.VALID if int.from_bytes(digest[:8], "big") < valid_share * 2**64 else Split.TRAIN
