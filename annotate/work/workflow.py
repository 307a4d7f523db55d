"""The `Workflow` protocol: what each workflow, such as rankings, provides to the rest of the platform.

annotate/workflows/table.py lists one object per workflow. Pages, API and commands use only this protocol. The engine
(annotate/work) never calls a workflow.
"""

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
# The fields of a form as a browser sends them and a draft stores them: a list of texts for each field.
if TYPE_CHECKING:
    Typed = MultiValueDict[str, str]
else:
    Typed = MultiValueDict
Words = str | Promise


class BadAnswer(Exception):
    """The answer breaks a rule of its workflow.

    `context`: of `task_template`, with values and errors. `words`: all errors, in one line.
    """

    def __init__(self, context: Context, words: str) -> None:
        super().__init__(words)
        self.context, self.words = context, words


def faults(form: BaseForm) -> str:
    """All errors of a form, in one line."""
    return " ".join(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts))


@dataclass(frozen=True)
class Part:
    template: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class DemoCampaign:
    """A campaign of the demonstration data. `columns`: of Campaign; `settings`: of the workflow's settings."""

    name: str
    guideline: str
    guideline_text: Path
    columns: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


class Workflow(Protocol):
    """A kind of work. Derive from this class and define everything that has no default."""

    # Stored in Campaign.workflow and used in addresses and the API. Never change it.
    key: ClassVar[str]
    label: ClassVar[Words]
    # For the manager who chooses a workflow for a new campaign.
    description: ClassVar[Words]
    needs: ClassVar[Words] = ""
    # True: the answer is the field `text`. The page gives it the focus and most of the space.
    writes_text: ClassVar[bool] = True
    # True: every prompt gets a task soon, and the campaign's page shows how many have one.
    follows_prompts: ClassVar[bool] = True
    # True: exports measure inter-annotator agreement.
    measures_agreement: ClassVar[bool] = False
    # What lists show for a task without a prompt.
    untitled: ClassVar[Words] = ""

    # The table, form and serializer of the settings that only this workflow has.
    settings_model: ClassVar[type[CampaignSettings] | None] = None
    settings_form: ClassVar["type[ModelForm[Any]] | None"] = None
    settings_serializer: ClassVar["type[ModelSerializer[Any]] | None"] = None

    # Templates: the form on the task page; an answer, for review and history.
    task_template: ClassVar[str]
    answer_template: ClassVar[str]

    # Further addresses: of a task (argument `assignment_id`), of a campaign in the studio and of a campaign in the API
    # (argument `campaign_id`). Each view checks who may use it.
    task_urls: ClassVar[Sequence[URLPattern]] = ()
    campaign_urls: ClassVar[Sequence[URLPattern]] = ()
    api_urls: ClassVar[Sequence[URLPattern]] = ()

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt] | None:
        """The prompts that get a task at some time. None: the campaign creates no tasks from prompts."""
        ...

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        """Create a bounded number of missing tasks and return it. The caller repeats this until 0."""
        ...

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
        """Include prompts that `fill` passed while they were in quarantine.

        Return those that need a task now, or None. The caller has not locked the campaign's row yet.
        """
        ...

    def ran_out(self, *, campaign: Campaign) -> None:
        """A labeler found no task. Prepare some now, if this workflow prepares tasks in advance."""
        return

    def campaigns_with(self, *, policy: Policy) -> QuerySet[Campaign]:
        return Campaign.objects.none()

    def campaign_of(self, *, run: SampleRun) -> Campaign | None:
        """The campaign of the run, if this workflow started the run."""
        return None

    def retrying(self, *, run: SampleRun) -> AbstractContextManager[None]:
        """Surround the retry of a run's failed prompts: take locks before it, update rows after it."""
        return nullcontext()

    def heading(self, *, task: Task) -> Words:
        """What the labeler does, in a few words."""
        ...

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        """The context of `task_template`, with the draft, else the sent-back answer, else nothing."""
        ...

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        """Store and submit the answer in one transaction. Raises BadAnswer or a Refusal."""
        ...

    def undo(self, *, assignment_id: int, labeler: User, now: datetime) -> Assignment:
        """Undo the labeler's last submit and turn it into the task's draft. Raises a Refusal."""
        ...

    def titles(self, *, assignments: Sequence[Assignment]) -> dict[int, str]:
        """Titles of answers whose tasks have no prompt, by assignment id."""
        return {}

    def accept(self, *, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
        """Accept the answer, with this workflow's consequences. Raises a Refusal."""
        ...

    def answer(self, *, assignment: Assignment) -> Context: ...

    def settings_part(self, *, campaign: Campaign) -> Part | None:
        """Rows (dt, dd) of the settings on the campaign's page."""
        return None

    def campaign_part(self, *, campaign: Campaign) -> Part | None:
        return None

    def progress_part(self, *, campaign: Campaign) -> Part | None:
        """Notes on the progress, such as why there are no tasks yet. The page adds its own context."""
        return None

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign | None:
        return None

    def fill_demo(self, *, campaign: Campaign, now: datetime) -> None:
        """Add further tasks to the demonstration campaign before it opens."""
        return
