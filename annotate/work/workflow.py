"""What a workflow, such as rankings, provides. The engine (annotate/work) never calls it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from uuid import UUID

from django.db.models import QuerySet
from django.forms import BaseForm, ModelForm
from django.urls import URLPattern
from django.utils.datastructures import MultiValueDict
from django.utils.functional import Promise
from rest_framework.serializers import ModelSerializer

from annotate.accounts.models import User
from annotate.pools.models import Pool, Prompt
from annotate.samples.models import Policy, SampleRun
from annotate.work.models import Assignment, Campaign, CampaignSettings, Task
from annotate.work.submitting import Submission

Context = dict[str, Any]
# Form fields as a browser sends them: a list of texts for each.
if TYPE_CHECKING:
    Typed = MultiValueDict[str, str]
else:
    Typed = MultiValueDict
Words = str | Promise


class BadAnswer(Exception):
    """An invalid answer. `context`: of `task_template`. `words`: all errors."""

    def __init__(self, context: Context, words: str) -> None:
        super().__init__(words)
        self.context, self.words = context, words


def faults(form: BaseForm) -> str:
    """All errors, in one line."""
    return " ".join(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts))


@dataclass(frozen=True)
class Part:
    template: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class DemoCampaign:
    """`columns`: of Campaign. `settings`: of `Workflow.settings_model`."""

    name: str
    guideline: str
    guideline_text: Path
    columns: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


class Workflow(Protocol):
    """A subclass defines everything that has no default."""

    # Stored in campaigns and part of addresses. Never change it.
    key: ClassVar[str]
    label: ClassVar[Words]
    description: ClassVar[Words]
    needs: ClassVar[Words] = ""
    # The page gives the field `text` the focus.
    writes_text: ClassVar[bool] = True
    # Every prompt gets a task soon.
    follows_prompts: ClassVar[bool] = True
    # Exports measure inter-annotator agreement.
    measures_agreement: ClassVar[bool] = False
    # The title of a task without a prompt.
    untitled: ClassVar[Words] = ""

    settings_model: ClassVar[type[CampaignSettings] | None] = None
    settings_form: ClassVar["type[ModelForm[Any]] | None"] = None
    settings_serializer: ClassVar["type[ModelSerializer[Any]] | None"] = None

    # The form on the task page; an answer in review and history.
    task_template: ClassVar[str]
    answer_template: ClassVar[str]

    # Addresses of a task (`assignment_id`) and of a campaign (`campaign_id`). Each view checks access.
    task_urls: ClassVar[Sequence[URLPattern]] = ()
    campaign_urls: ClassVar[Sequence[URLPattern]] = ()
    api_urls: ClassVar[Sequence[URLPattern]] = ()

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt] | None:
        """Prompts that get tasks. None: the campaign creates no tasks from prompts."""
        ...

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        """Create some missing tasks and return their number. The caller repeats this until 0."""
        ...

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
        """Include prompts that leave quarantine. Return those that need a task now. The campaign is not locked."""
        ...

    def ran_out(self, *, campaign: Campaign) -> None:
        """Prepare tasks: a labeler found none."""
        return

    def campaigns_with(self, *, policy: Policy) -> QuerySet[Campaign]:
        return Campaign.objects.none()

    def campaign_of(self, *, run: SampleRun) -> Campaign | None:
        """The campaign that started the run."""
        return None

    def retrying(self, *, run: SampleRun) -> AbstractContextManager[None]:
        """Take locks before failed prompts are retried, and update rows after it."""
        return nullcontext()

    def heading(self, *, task: Task) -> Words:
        """What the labeler does."""
        ...

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        """The context of `task_template`, with the draft or the sent-back answer."""
        ...

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        """Store and submit in one transaction. Raises BadAnswer or Refusal."""
        ...

    def undo(self, *, assignment_id: int, labeler: User, now: datetime) -> Assignment:
        """Turn the last submit into a draft. Raises Refusal."""
        ...

    def titles(self, *, assignments: Sequence[Assignment]) -> dict[int, str]:
        """For answers without a prompt, by assignment id."""
        return {}

    def accept(self, *, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
        """Accept, with this workflow's consequences. Raises Refusal."""
        ...

    def answer(self, *, assignment: Assignment) -> Context: ...

    def settings_part(self, *, campaign: Campaign) -> Part | None:
        """Rows (dt, dd) for the campaign's page."""
        return None

    def campaign_part(self, *, campaign: Campaign) -> Part | None:
        return None

    def progress_part(self, *, campaign: Campaign) -> Part | None:
        """For example, why there are no tasks yet."""
        return None

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign | None:
        return None

    def fill_demo(self, *, campaign: Campaign, now: datetime) -> None:
        """Add tasks before the demonstration opens."""
        return
