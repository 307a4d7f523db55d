"""Check that no owner and no prompt text is on both sides of the split.

It reads the written lines and owners instead of groups, so that it finds wrong groups too.
"""

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.pools import audit
from annotate.pools.models import Split
from annotate.pools.quarantine import Case
from annotate.pools.rules import content_hash
from annotate.pools.split_rules import Use
from exports.formats import jsonl
from exports.schema import Messages
from exports.table import FILES

Hashes: TypeAlias = "array[int]"
PROMPTS_NAMED = 6


class Leak(Refusal):
    """cases: to put into quarantine. The message lists some."""

    def __init__(self, *, owners: int, texts: int, cases: Sequence[Case]) -> None:
        super().__init__(owners, texts)
        self.owners, self.texts, self.cases = owners, texts, cases

    def __str__(self) -> str:
        named = ", ".join(str(case.prompt_id) for case in self.cases[:PROMPTS_NAMED])
        if len(self.cases) > PROMPTS_NAMED:
            named += ", …"
        return _(
            "The export was stopped: %(owners)d customers or writers and %(texts)d prompt texts are in both the"
            " training and the validation files, so a model would be validated on its training data. Put these prompts"
            " into quarantine, on the page of the export or with manage.py audit_splits --quarantine, and export"
            " again: %(prompts)s."
        ) % {"owners": self.owners, "texts": self.texts, "prompts": named}


def no_hashes() -> Hashes:
    return array("Q")


def prompt_hash(prompt: Messages) -> int:
    """64 bits; equal for prompts that a pool treats as duplicates."""
    return audit.short_hash(content_hash(prompt))


def different(parts: Sequence[Hashes]) -> npt.NDArray[np.uint64]:
    """Distinct, ascending."""
    return np.unique(np.concatenate([np.frombuffer(part, dtype=np.uint64) for part in (*parts, no_hashes())]))


def check(*, prompts: Mapping[str, Hashes], texts: Mapping[str, Sequence[Hashes]], folder: Path) -> None:
    """prompts: ids by split. texts: hashes by split. Raises Leak."""
    owners = {split: no_hashes() for split in Split.values}
    for split, hashes in owners.items():
        hashes.extend(audit.short_hash(owner) for _prompt, owner in audit.owners_of_many(prompts[split]))
    shared_owners = set(audit.shared(owners).tolist())
    train, valid = different(texts[Split.TRAIN]), different(texts[Split.VALID])
    shared_texts = set(np.intersect1d(train, valid, assume_unique=True).tolist())
    if shared_owners or shared_texts:
        found = _cases(folder, prompts, shared_owners, shared_texts)
        raise Leak(owners=len(shared_owners), texts=len(shared_texts), cases=found)


def _cases(folder: Path, prompts: Mapping[str, Hashes], owners: set[int], texts: set[int]) -> list[Case]:
    """Reads the files again."""
    by_owner: dict[str, set[Use]] = defaultdict(set)
    by_text: dict[str, set[Use]] = defaultdict(set)
    for split in Split.values:
        for prompt, owner in audit.owners_of_many(prompts[split]):
            if audit.short_hash(owner) in owners:
                by_owner[owner].add(Use(prompt, split))
        for path in (folder / jsonl.file_name(file.name, split) for file in FILES):
            for _raw, line in jsonl.read(path) if path.exists() else ():
                text = content_hash(line["prompt"])
                if audit.short_hash(text) in texts:
                    by_text[text].add(Use(line["prompt_id"], split, line.get("example") == "few_shot"))
    # If one prompt is on both sides, the export is wrong, and quarantine would not help.
    return [case for case in audit.cases(by_owner, by_text) if case.prompt_id != case.twin_id]
