"""What a workflow offers to the rest of the platform: the `Workflow` protocol.

A workflow is a kind of work: rankings, for example. Its package has one object of a class that derives from `Workflow`,
and annotate/workflows/table.py lists these objects. The pages, the API and the commands know workflows only through
this protocol. The engine (annotate/work) never calls a workflow.
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

# The context of a template part.
Context = dict[str, Any]
# The fields of a form as a browser sends them and as a draft keeps them: every field has a list of texts.
if TYPE_CHECKING:
    Typed = MultiValueDict[str, str]
else:
    Typed = MultiValueDict
Words = str | Promise


class BadAnswer(Exception):
    """The answer breaks a rule of its workflow.

    `context`: the task part again, with what was typed and what is wrong. `words`: all that is wrong, in one line.
    """

    def __init__(self, context: Context, words: str) -> None:
        super().__init__(words)
        self.context, self.words = context, words


def faults(form: BaseForm) -> str:
    """All that is wrong with a form, in one line."""
    return " ".join(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts))


@dataclass(frozen=True)
class Part:
    """A template that a page includes, with its context."""

    template: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class DemoCampaign:
    """A campaign for the demonstration data: its guideline, its columns and its workflow's settings."""

    name: str
    guideline: str
    guideline_text: Path
    columns: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


class Workflow(Protocol):
    """A kind of work. Derive from it and fill in what has no default here."""

    # Stored in Campaign.workflow and used in addresses and in the API. Never change it.
    key: ClassVar[str]
    label: ClassVar[Words]
    # For the manager who chooses a workflow for a new campaign.
    description: ClassVar[Words]
    needs: ClassVar[Words] = ""
    # True: the labeler writes a text into the field `text`. It gets the focus, and the page gives it the room.
    writes_text: ClassVar[bool] = True
    # True: every prompt of the pool gets a task soon; the campaign's page shows how many have one.
    follows_prompts: ClassVar[bool] = True
    # True: the export app measures inter-annotator agreement for it.
    measures_agreement: ClassVar[bool] = False
    # What lists show for a task without a prompt.
    untitled: ClassVar[Words] = ""

    # The workflow's own settings of a campaign: their table, their form and their serializer; None: it has none.
    settings_model: ClassVar[type[CampaignSettings] | None] = None
    settings_form: ClassVar["type[ModelForm[Any]] | None"] = None
    settings_serializer: ClassVar["type[ModelSerializer[Any]] | None"] = None

    # Templates of the task page's form and of an answer, for review and history.
    task_template: ClassVar[str]
    answer_template: ClassVar[str]

    # Views with addresses of their own: under a task (argument `assignment_id`, for its labeler), under a campaign in
    # the studio (argument `campaign_id`, for managers), and under a campaign in the API.
    task_urls: ClassVar[Sequence[URLPattern]] = ()
    campaign_urls: ClassVar[Sequence[URLPattern]] = ()
    api_urls: ClassVar[Sequence[URLPattern]] = ()

    # Tasks

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt] | None:
        """The prompts that get a task sooner or later; None where the campaign makes no tasks from prompts."""
        ...

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        """Make missing tasks, a bounded number per call, and return the number. The caller repeats it until 0."""
        ...

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
        """Prepare for prompts that leave quarantine, because `fill` may have passed them.

        Return those that get tasks immediately, or None. The caller has not locked the campaign's row yet.
        """
        ...

    def ran_out(self, *, campaign: Campaign) -> None:
        """A labeler found no task. A workflow that prepares tasks in advance can start now."""
        return

    # Policies and sampling runs

    def campaigns_with(self, *, policy: Policy) -> QuerySet[Campaign]:
        """The campaigns whose settings name the policy."""
        return Campaign.objects.none()

    def campaign_of(self, *, run: SampleRun) -> Campaign | None:
        """The campaign that the run samples for, if this workflow has started it."""
        return None

    def retrying(self, *, run: SampleRun) -> AbstractContextManager[None]:
        """Surround the retry of a run's failed prompts: take locks before it, adjust own rows after it."""
        return nullcontext()

    # The labeler's pages

    def heading(self, *, task: Task) -> Words:
        """What the labeler is to do, in a few words."""
        ...

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        """The context of the task part: filled from the draft, else from the sent-back answer, else empty."""
        ...

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        """Read the form, store the answer and submit, in one transaction. Raises BadAnswer or a Refusal."""
        ...

    def undo(self, *, assignment_id: int, labeler: User, now: datetime) -> Assignment:
        """Take the labeler's last submit back. Its text becomes the task's draft again. Raises a Refusal."""
        ...

    def titles(self, *, assignments: Sequence[Assignment]) -> dict[int, str]:
        """Titles for submitted answers whose tasks have no prompt, by assignment id."""
        return {}

    # Review

    def accept(self, *, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
        """Accept the answer, with the consequences that this workflow adds. Raises a Refusal."""
        ...

    def answer(self, *, assignment: Assignment) -> Context:
        """The context of `answer_template`."""
        ...

    # The manager's pages

    def settings_part(self, *, campaign: Campaign) -> Part | None:
        """Rows (dt, dd) for the settings on the campaign's page."""
        return None

    def campaign_part(self, *, campaign: Campaign) -> Part | None:
        """A section of the campaign's page."""
        return None

    def progress_part(self, *, campaign: Campaign) -> Part | None:
        """Notes for the progress of a campaign, such as why it has no tasks yet. The page adds its own context."""
        return None

    # Demonstration data

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign | None:
        """A campaign for the demonstration data."""
        return None

    def fill_demo(self, *, campaign: Campaign, now: datetime) -> None:
        """Add work of its own to the demonstration campaign before it opens."""
        return
