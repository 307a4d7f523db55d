from dataclasses import dataclass, field
from pathlib import Path

import pytest

from annotate.accounts.models import Cohort, User
from annotate.pools.models import Pool, Prompt, Source, Split
from annotate.work.models import Campaign
from exports.actions import write
from exports.formats import jsonl
from exports.manifest import Manifest
from tests import factories as make
from tests.exports import answers


@dataclass
class Day:
    """A pool with campaigns of the three kinds, and one labeler of each cohort."""

    pool: Pool
    demonstrations: Campaign
    rankings: Campaign
    instructions: Campaign
    labeler: User
    held_out: User
    groups: dict[str, object] = field(default_factory=dict)

    @property
    def campaigns(self) -> list[Campaign]:
        return [self.demonstrations, self.rankings, self.instructions]

    def prompt(self, text: str, split: str = Split.TRAIN, source: str = Source.LABELER, **fields) -> Prompt:
        return make.prompt(self.pool, text, in_group=make.group(split=split), source=source, **fields)

    def slate(self, prompt: Prompt, texts: str):
        """One completion a letter, all by one policy."""
        policy = make.policy(location="/models/tiny")
        return answers.slate(self.rankings, prompt, [make.completion(prompt, policy, text) for text in texts])


@pytest.fixture
def day(db) -> Day:
    pool = make.pool("everyday")
    guideline = make.guideline("helpfulness")
    campaigns = {
        key: make.campaign(key, over=pool, name=f"{key} of today", guideline=guideline)
        for key in ("demonstrations", "rankings", "instructions")
    }
    return Day(
        pool=pool,
        labeler=make.user(username="ada"),
        held_out=make.user(username="hedy", cohort=Cohort.HELD_OUT),
        **campaigns,
    )


@dataclass
class Written:
    folder: Path
    manifest: Manifest

    def lines(self, kind: str, split: str = Split.TRAIN) -> list[dict]:
        path = self.folder / jsonl.file_name(kind, split)
        return [line for _raw, line in jsonl.read(path)] if path.exists() else []

    @property
    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


@pytest.fixture
def export(day, tmp_path):
    """export(): everything of the day, written into a folder of its own."""

    def export_day(name: str = "out", *, now=make.NOW, **options) -> Written:
        folder = tmp_path / name
        return Written(folder, write(campaigns=day.campaigns, out=folder, now=now, **options))

    return export_day
