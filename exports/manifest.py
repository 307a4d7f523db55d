"""manifest.json: what is in an export, what is not and why, and how to tell that the files are the ones written."""

import hashlib
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from annotate.lib import env
from annotate.pools.models import Source, Split
from exports import splits
from exports.formats import jsonl
from exports.queries import Scope
from exports.schema import FILE_KINDS, SCHEMA_VERSION, FileKind
from exports.splits import Hashes, no_hashes

Manifest = dict[str, Any]

FILE_NAME = "manifest.json"
# The columns of InstructGPT's Table 6 (arXiv 2203.02155, A.3). It counts PPO prompts of customers only.
TABLE_6: tuple[tuple[str, FileKind, str], ...] = (
    ("sft_labeler", "sft", Source.LABELER),
    ("sft_customer", "sft", Source.CUSTOMER),
    ("rm_labeler", "rm", Source.LABELER),
    ("rm_customer", "rm", Source.CUSTOMER),
    ("ppo_customer", "ppo", Source.CUSTOMER),
)
FILTERS = (
    "Answers count once they are accepted: by a reviewer, or at once where the campaign asks for no review.",
    "No answer of a held-out labeler, and no prompt that one wrote or that was rewritten from one.",
    "No prompt in quarantine, no answer to one, and no instruction that became one.",
    "SFT: demonstrations, and K leave-one-out examples of each few-shot instruction with K query/response pairs.",
    "RM: every ranking. Its pairs leave out ties and pairs of two equal texts.",
    "PPO: customers' prompts of the campaigns' pools, equal prompts once.",
)


@dataclass(frozen=True)
class FileFacts:
    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass
class Survey:
    """What reading the files back has shown. It keeps 16 bytes for each prompt of each file."""

    files: list[FileFacts] = field(default_factory=list)
    # By kind of file, split and source: hashes of texts. By split: ids of prompts.
    texts: dict[tuple[FileKind, str, str], Hashes] = field(default_factory=lambda: defaultdict(no_hashes))
    prompt_ids: dict[str, Hashes] = field(default_factory=lambda: defaultdict(no_hashes))
    ties: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    identical: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def prompts(self, kind: FileKind, split: str, source: str) -> int:
        """Different prompt texts. The K examples of a few-shot instruction have K different ones, as in Table 6."""
        return len(splits.different([self.texts[kind, split, source]]))

    @property
    def names(self) -> list[str]:
        return [file.name for file in self.files]

    def rows(self, kind: FileKind, split: str) -> int:
        return sum(file.rows for file in self.files if file.name == jsonl.file_name(kind, split))


def survey(folder: Path, *, on_line: Callable[[], None] = lambda: None) -> Survey:
    """Read every file of the folder once. Raises splits.Leak if an owner or a prompt text is in both splits."""
    found = Survey()
    for kind in FILE_KINDS:
        for split in Split.values:
            path = folder / jsonl.file_name(kind, split)
            if path.exists():
                _read(found, path, kind, split, on_line)
    texts = {split: [part for (_, of, _), part in found.texts.items() if of == split] for split in Split.values}
    splits.check(prompts={split: found.prompt_ids[split] for split in Split.values}, texts=texts, folder=folder)
    return found


def _read(found: Survey, path: Path, kind: FileKind, split: str, on_line: Callable[[], None]) -> None:
    digest, rows, size = hashlib.sha256(), 0, 0
    last: tuple[Any, ...] = ()
    for raw, line in jsonl.read(path):
        digest.update(raw)
        rows += 1
        size += len(raw)
        found.ties[split] += line.get("tied_pairs", 0)
        found.identical[split] += line.get("identical_pairs", 0)
        # The lines of one prompt stand together: one of them is enough.
        this = (line["prompt_id"], line["source"], line["prompt"])
        if this != last:
            found.texts[kind, split, line["source"]].append(splits.prompt_hash(line["prompt"]))
            found.prompt_ids[split].append(line["prompt_id"])
            last = this
        on_line()
    found.files.append(FileFacts(path.name, rows, size, digest.hexdigest()))


def describe(*, survey: Survey, scope: Scope, card: FileFacts, now: datetime) -> Manifest:
    """The manifest as plain JSON values. For the same data and the same code, only `created_at` differs."""
    return {
        "schema": "annotate/export",
        "schema_version": SCHEMA_VERSION,
        "code_version": code_version(),
        "created_at": now.isoformat(),
        "campaigns": list(scope.campaigns),
        "prompts": {
            split: {column: survey.prompts(kind, split, source) for column, kind, source in TABLE_6}
            for split in Split.values
        },
        "examples": {
            split: {
                "sft_examples": survey.rows("sft", split),
                "rm_rankings": survey.rows("rm", split),
                "rm_pairs": survey.rows("rm_pairs", split),
                "rm_tied_pairs": survey.ties[split],
                "rm_identical_pairs": survey.identical[split],
                "ppo_prompts": survey.rows("ppo", split),
            }
            for split in Split.values
        },
        "tie_rule": "dropped",
        "pair_weight": "1/C(K,2)",
        "filters": list(FILTERS),
        "left_out": {reason.value: number for reason, number in scope.left_out.items()},
        "files": [asdict(file) for file in survey.files],
        "card": asdict(card),
    }


def to_bytes(manifest: Manifest) -> bytes:
    return json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n"


def facts(path: Path) -> FileFacts:
    content = path.read_bytes()
    return FileFacts(path.name, 0, len(content), hashlib.sha256(content).hexdigest())


@cache
def code_version() -> str:
    """CODE_VERSION of the environment, for installations without a checkout; else what git says; else "unknown"."""
    if stated := env.text("CODE_VERSION", ""):
        return stated
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        asked = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return asked.stdout.strip()


def file_names(manifest: Manifest) -> list[str]:
    """Everything that is in the folder of an export."""
    return [*(file["name"] for file in manifest["files"]), manifest["card"]["name"], FILE_NAME]
