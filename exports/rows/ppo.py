"""Prompts for reinforcement learning: customers' prompts only, without answers (arXiv 2203.02155, 3.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.pools.models import Prompt, Source
from exports.rows.about import CHUNK, about_prompt, messages
from exports.schema import AboutPrompt, PromptColumn, Row, SplitColumn, TrainingFile
from exports.workflow import Statistic


@dataclass(frozen=True)
class PpoRow(Row):
    file: ClassVar[str] = "ppo"
    prompt: PromptColumn
    split: SplitColumn
    about_prompt: AboutPrompt


FILE = TrainingFile(
    row=PpoRow,
    card="- `ppo`: customers' prompts, without answers.\n",
    rule="PPO: customers' prompts of the campaigns' pools, equal prompts once.",
    sources=(Source.CUSTOMER,),
)
CONTENTS = _("PPO: customers' prompts.")
STATISTIC = Statistic("ppo_prompts", FILE, _("PPO prompts"))


def rows(prompts: QuerySet[Prompt]) -> Iterator[Sequence[Row]]:
    for prompt in prompts.iterator(CHUNK):
        yield [PpoRow(prompt=messages(prompt), split=prompt.group.split, about_prompt=about_prompt(prompt))]
