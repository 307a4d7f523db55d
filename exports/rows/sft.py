"""Supervised examples: a prompt, and the completion that a person wrote for it (arXiv 2203.02155, 3.2 and A.1)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from django.utils.translation import gettext_lazy as _

from annotate.pools.models import Source
from exports.schema import AboutAnswer, AboutPrompt, Messages, PromptColumn, Row, SplitColumn, TrainingFile
from exports.workflow import Statistic


@dataclass(frozen=True)
class SftRow(Row):
    file: ClassVar[str] = "sft"
    prompt: PromptColumn
    completion: Annotated[Messages, "The completion that a person wrote, as one assistant message."]
    example: Annotated[
        str, "`demonstration`, or `few_shot` for one of the K leave-one-out examples of a few-shot instruction."
    ]
    split: SplitColumn
    about_prompt: AboutPrompt
    about_answer: AboutAnswer


FILE = TrainingFile(
    row=SftRow,
    card="""\
- `sft`: a prompt and the completion a person wrote to it (`example`: `demonstration`, or `few_shot` for one of the K
  leave-one-out examples of an instruction with K query/response pairs).
""",
    rule="SFT: demonstrations, and K leave-one-out examples of each few-shot instruction with K query/response pairs.",
    sources=(Source.LABELER, Source.CUSTOMER),
)
STATISTIC = Statistic("sft_examples", FILE, _("SFT examples"))
