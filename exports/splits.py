"""Nothing of the validation split may be learned from: no owner of prompts and no prompt text is on both sides.

The evidence is what was written, not the groups that the split was drawn by, so that a mistake on the way to them shows
too: the texts come from the lines of the files, and the owners are looked up in the database for the prompts that the
lines name. Source users never enter a file. Kept is 64 bits of each, 16 bytes a prompt.
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
from exports.schema import FILE_KINDS, Message

Hashes: TypeAlias = "array[int]"
PROMPTS_NAMED = 6


class Leak(Refusal):
    """Owners or prompt texts are in the training and in the validation files. `cases` says which prompts to put into
    quarantine so that none is; the message names some of them."""

    def __init__(self, *, owners: int, texts: int, cases: Sequence[Case]) -> None:
        super().__init__(owners, texts)
        self.owners, self.texts, self.cases = owners, texts, cases

    def __str__(self) -> str:
        named = ", ".join(str(case.prompt_id) for case in self.cases[:PROMPTS_NAMED])
        if len(self.cases) > PROMPTS_NAMED:
            named += ", …"
        return _(
            "The export was stopped: %(owners)d source users and %(texts)d prompt texts are in both the training and"
            " the validation files, so a model would be validated on what it learned. Put these prompts into"
            " quarantine, on the page of the export or with manage.py audit_splits --quarantine, and export again:"
            " %(prompts)s."
        ) % {"owners": self.owners, "texts": self.texts, "prompts": named}


def no_hashes() -> Hashes:
    return array("Q")


def prompt_hash(prompt: Sequence[Message]) -> int:
    """The same for prompts that a pool takes for duplicates, and for no others."""
    return audit.short_hash(content_hash(prompt))


def different(parts: Sequence[Hashes]) -> npt.NDArray[np.uint64]:
    """Each hash of the parts once, in ascending order."""
    return np.unique(np.concatenate([np.frombuffer(part, dtype=np.uint64) for part in (*parts, no_hashes())]))


def check(*, prompts: Mapping[str, Hashes], texts: Mapping[str, Sequence[Hashes]], folder: Path) -> None:
    """Compare the two sides, each a mapping from split to prompt ids and to hashes of texts. Raises Leak."""
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
    """The prompts that have to give way, by reading the files again."""
    by_owner: dict[str, set[Use]] = defaultdict(set)
    by_text: dict[str, set[Use]] = defaultdict(set)
    for split in Split.values:
        for prompt, owner in audit.owners_of_many(prompts[split]):
            if audit.short_hash(owner) in owners:
                by_owner[owner].add(Use(prompt, split))
        for path in (folder / jsonl.file_name(kind, split) for kind in FILE_KINDS):
            for _raw, line in jsonl.read(path) if path.exists() else ():
                text = content_hash(line["prompt"])
                if audit.short_hash(text) in texts:
                    by_text[text].add(Use(line["prompt_id"], split, line.get("example") == "few_shot"))
    # A prompt that is on both sides itself would be a mistake of the export, which no quarantine mends.
    return [case for case in audit.cases(by_owner, by_text) if case.prompt_id != case.twin_id]
