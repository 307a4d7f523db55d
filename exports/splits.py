"""Nothing of the validation split may be learned from: no group and no prompt text stands on both sides.

The evidence is gathered from the written lines, not from the database, so that a mistake on the way to them shows too.
It is 64 bits of each text: 8 bytes a prompt, and one chance in ten million to take two of a million for equal.
"""

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from annotate.lib.text import text_hash
from annotate.pools.models import Split
from annotate.pools.rules import content_hash
from exports.formats import jsonl
from exports.schema import FILE_KINDS, Message

Hashes: TypeAlias = "array[int]"
PROMPTS_NAMED_A_SPLIT = 3


class Leak(Exception):
    """Groups or prompts stand in the training and in the validation files; the message names some of them."""


def no_hashes() -> Hashes:
    return array("Q")


def prompt_hash(prompt: Sequence[Message]) -> int:
    """The same for prompts that a pool takes for duplicates, and for no others."""
    return int(content_hash(prompt)[:16], 16)


def group_hash(group: str) -> int:
    return int(text_hash(group)[:16], 16)


def different(parts: Sequence[Hashes]) -> npt.NDArray[np.uint64]:
    """Each hash of the parts once, in ascending order."""
    return np.unique(np.concatenate([np.frombuffer(part, dtype=np.uint64) for part in (*parts, no_hashes())]))


def check(*, groups: Mapping[str, Sequence[Hashes]], texts: Mapping[str, Sequence[Hashes]], folder: Path) -> None:
    """Compare the two sides, each a mapping from split to hashes. Raises Leak where they share any."""
    shared_groups, shared_texts = _shared(groups), _shared(texts)
    if not (shared_groups or shared_texts):
        return
    raise Leak(
        _(
            "The export was stopped: %(groups)d groups and %(texts)d prompt texts stand in both the training and the "
            "validation files, so a model would be validated on what it learned. Look at the prompts %(prompts)s."
        )
        % {
            "groups": len(shared_groups),
            "texts": len(shared_texts),
            "prompts": ", ".join(str(prompt) for prompt in _prompts(folder, shared_groups, shared_texts)),
        }
    )


def _shared(hashes: Mapping[str, Sequence[Hashes]]) -> set[int]:
    both = np.intersect1d(different(hashes[Split.TRAIN]), different(hashes[Split.VALID]), assume_unique=True)
    return set(both.tolist())


def _prompts(folder: Path, groups: set[int], texts: set[int]) -> list[int]:
    """Ids of some prompts of each split whose group or text is on the other side too."""
    named: list[int] = []
    for split in Split.values:
        found: set[int] = set()
        for path in (folder / jsonl.file_name(kind, split) for kind in FILE_KINDS):
            for _raw, line in jsonl.read(path) if path.exists() else ():
                if group_hash(line["group"]) in groups or prompt_hash(line["prompt"]) in texts:
                    found.add(line["prompt_id"])
                if len(found) == PROMPTS_NAMED_A_SPLIT:
                    break
        named += sorted(found)
    return named
