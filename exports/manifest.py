"""manifest.json of an export."""

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
from annotate.pools.models import Split
from exports import splits
from exports.formats import jsonl
from exports.queries import Scope
from exports.schema import SCHEMA_VERSION, TrainingFile
from exports.splits import Hashes, no_hashes
from exports.table import EXPORTS, FILES, STATISTICS
from exports.workflow import Statistic

Manifest = dict[str, Any]

FILE_NAME = "manifest.json"
# As InstructGPT counts them (arXiv 2203.02155, Table 6 in A.3).
PROMPT_COUNTS = [(f"{file.name}_{source}", file, source) for file in FILES for source in file.sources]
FILTERS = (
    "Answers count once they are accepted: by a reviewer, or at once where the campaign asks for no review.",
    "No answer of a held-out labeler, and no prompt that one wrote or that was rewritten from one.",
    "No prompt in quarantine, no answer to one, and no instruction that became one.",
    *(file.rule for file in FILES if file.rule),
)


@dataclass(frozen=True)
class FileFacts:
    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass
class Survey:
    """Takes 16 bytes of memory for each prompt."""

    files: list[FileFacts] = field(default_factory=list)
    # By file, split and source.
    texts: dict[tuple[str, str, str], Hashes] = field(default_factory=lambda: defaultdict(no_hashes))
    # By split.
    prompt_ids: dict[str, Hashes] = field(default_factory=lambda: defaultdict(no_hashes))
    # By file, split and column.
    sums: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))

    def prompts(self, file: TrainingFile, split: str, source: str) -> int:
        """Distinct texts. The K examples of a few-shot instruction count as K, as in Table 6."""
        return len(splits.different([self.texts[file.name, split, source]]))

    def statistic(self, number: Statistic, split: str) -> int:
        if number.column:
            return self.sums[number.file.name, split, number.column]
        return sum(file.rows for file in self.files if file.name == jsonl.file_name(number.file.name, split))

    @property
    def names(self) -> list[str]:
        return [file.name for file in self.files]


def survey(folder: Path, *, on_line: Callable[[], None] = lambda: None) -> Survey:
    """Raises splits.Leak if an owner or a prompt text is in both splits."""
    found = Survey()
    for file in FILES:
        for split in Split.values:
            path = folder / jsonl.file_name(file.name, split)
            if path.exists():
                _read(found, path, file, split, on_line)
    texts = {split: [part for (_, of, _), part in found.texts.items() if of == split] for split in Split.values}
    splits.check(prompts={split: found.prompt_ids[split] for split in Split.values}, texts=texts, folder=folder)
    return found


def _read(found: Survey, path: Path, file: TrainingFile, split: str, on_line: Callable[[], None]) -> None:
    digest, rows, size = hashlib.sha256(), 0, 0
    summed = [number.column for number in STATISTICS if number.file == file and number.column]
    last: tuple[object, ...] = ()
    for raw, line in jsonl.read(path):
        digest.update(raw)
        rows += 1
        size += len(raw)
        for column in summed:
            found.sums[file.name, split, column] += line[column]
        # Lines with equal prompts are adjacent.
        this = (line["prompt_id"], line["source"], line["prompt"])
        if this != last:
            found.texts[file.name, split, line["source"]].append(splits.prompt_hash(line["prompt"]))
            found.prompt_ids[split].append(line["prompt_id"])
            last = this
        on_line()
    found.files.append(FileFacts(path.name, rows, size, digest.hexdigest()))


def describe(*, survey: Survey, scope: Scope, card: FileFacts, now: datetime) -> Manifest:
    """With equal data and code, only `created_at` differs."""
    return {
        "schema": "annotate/export",
        "schema_version": SCHEMA_VERSION,
        "code_version": code_version(),
        "created_at": now.isoformat(),
        "campaigns": list(scope.campaigns),
        "prompts": {
            split: {name: survey.prompts(file, split, source) for name, file, source in PROMPT_COUNTS}
            for split in Split.values
        },
        "examples": {
            split: {number.name: survey.statistic(number, split) for number in STATISTICS} for split in Split.values
        },
        **{name: fact for export in EXPORTS for name, fact in export.facts.items()},
        "filters": list(FILTERS),
        "left_out": scope.left_out,
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
    """CODE_VERSION, else the commit of the checkout, else "unknown"."""
    if stated := env.text("CODE_VERSION", ""):
        return stated
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        asked = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return asked.stdout.strip()


def file_names(manifest: Manifest) -> list[str]:
    return [*(file["name"] for file in manifest["files"]), manifest["card"]["name"], FILE_NAME]
