"""Actions that involve the campaign's workflow."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Qualification, User
from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.pools.models import Prompt
from annotate.samples import runs
from annotate.samples.models import Policy, SampleRun
from annotate.samples.tasks import FILL
from annotate.work import campaigns, filling, quarantine, review
from annotate.work.campaigns import differs
from annotate.work.models import Assignment, Campaign, CampaignSettings
from annotate.work.refusals import CampaignFixed
from annotate.work.slots import hold_campaign
from annotate.work.states import CampaignState
from annotate.workflows.table import WORKFLOWS, workflow_of


class NoSuchWorkflow(Refusal):
    message = _("This workflow does not exist. Choose one of those on the page for a new campaign.")


class SettingsChanged(Refusal):
    message = _(
        "Somebody has changed this campaign's settings, and your values contradict the new ones. Load the campaign"
        " again and repeat your change."
    )


def create_campaign(
    *,
    workflow: str,
    by: User | None,
    now: datetime,
    labelers: Iterable[User] = (),
    qualifications: Iterable[Qualification] = (),
    settings: Mapping[str, object] | None = None,
    **columns: Any,
) -> Campaign:
    """Create a draft. `columns`: of Campaign. Raises NoSuchWorkflow or NameTaken."""
    if workflow not in WORKFLOWS:
        raise NoSuchWorkflow
    with transaction.atomic():
        campaign = campaigns.create_campaign(
            workflow=workflow, by=by, now=now, labelers=labelers, qualifications=qualifications, **columns
        )
        if model := WORKFLOWS[workflow].settings_model:
            _store(model(campaign=campaign), settings or {})
    return campaign


def change_campaign(
    *, campaign: Campaign, now: datetime, settings: Mapping[str, object] | None = None, **columns: Any
) -> Campaign:
    """Change the given values. In large campaigns, a worker completes a change of overlap.

    Raises CampaignFixed, OrderFixed, NobodyMayWork, NameTaken or SettingsChanged.
    """
    with transaction.atomic():
        if settings:
            # The caller's campaign may be older than another change.
            locked = hold_campaign(campaign.id)
            row = settings_of(locked)
            changes = {name: value for name, value in settings.items() if differs(row, name, value)}
            if changes and locked.state != CampaignState.DRAFT:
                raise CampaignFixed
            _store(row, changes)
        campaign = campaigns.change_campaign(campaign=campaign, **columns)
    if filling.match_overlap(campaign=campaign, now=now):
        wake(FILL, campaign.pool_id)
    return campaign


def change_state(*, campaign: Campaign, to: CampaignState, now: datetime) -> Campaign:
    """Raises NoSuchMove, NothingPublished or NobodyMayWork."""
    with transaction.atomic():
        campaign = campaigns.change_state(campaign=campaign, to=to, now=now)
        if to == CampaignState.OPEN:
            wake(FILL, campaign.pool_id)
    return campaign


def settings_of(campaign: Campaign) -> CampaignSettings:
    """LookupError: the workflow has none."""
    model = workflow_of(campaign).settings_model
    if model is None:
        raise LookupError(f"the workflow {campaign.workflow} has no settings of its own")
    row: CampaignSettings = getattr(campaign, relation(model))
    return row


def with_settings(campaigns: QuerySet[Campaign]) -> QuerySet[Campaign]:
    for workflow in WORKFLOWS.values():
        if model := workflow.settings_model:
            campaigns = campaigns.select_related(relation(model))
            many = (f"{relation(model)}__{field.name}" for field in model._meta.many_to_many)
            campaigns = campaigns.prefetch_related(*many)
    return campaigns


def relation(model: type[CampaignSettings]) -> str:
    return str(model._meta.get_field("campaign").remote_field.get_accessor_name())


def _store(row: CampaignSettings, values: Mapping[str, object]) -> None:
    many = {field.name for field in row._meta.many_to_many}
    for name in values.keys() - many:
        setattr(row, name, values[name])
    try:
        row.validate_constraints()
    except ValidationError:
        raise SettingsChanged from None
    row.save()
    for name in many & values.keys():
        getattr(row, name).set(values[name])


def decide(
    *, assignment: Assignment, read_at: datetime | None, accepted: bool, reviewer: User, comment: str, now: datetime
) -> Assignment:
    """Accept an answer or send it back. `read_at`: when the text that the reviewer read was submitted.

    Raises Moved if the labeler replaced that text.
    """
    with transaction.atomic():
        review.hold_as_read(assignment_id=assignment.id, submitted_at=read_at)
        if accepted:
            workflow = workflow_of(assignment.campaign)
            return workflow.accept(assignment_id=assignment.id, reviewer=reviewer, comment=comment, now=now)
        return review.send_back(assignment_id=assignment.id, reviewer=reviewer, comment=comment, now=now)


def release(*, prompt: Prompt, by: User | None, now: datetime, instead: bool = False) -> Prompt:
    """Release a prompt from quarantine and create its tasks."""
    with transaction.atomic():
        prompt = quarantine.release(prompt_id=prompt.id, by=by, now=now, readmit=readmit, instead=instead)
        wake(FILL, prompt.pool_id)
    return prompt


def readmit(campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
    return workflow_of(campaign).readmit(campaign=campaign, prompts=prompts)


def retry_failed(*, run: SampleRun) -> int:
    """Return the number of prompts."""
    with transaction.atomic(), ExitStack() as surrounding:
        for workflow in WORKFLOWS.values():
            surrounding.enter_context(workflow.retrying(run=run))
        return runs.retry_failed(run=run)


def campaigns_with(policy: Policy) -> QuerySet[Campaign]:
    campaigns = Campaign.objects.none()
    for workflow in WORKFLOWS.values():
        campaigns |= workflow.campaigns_with(policy=policy)
    return campaigns.order_by("name")


def campaign_of(run: SampleRun) -> Campaign | None:
    """The campaign that started this run. None: a manager did."""
    campaigns = (workflow.campaign_of(run=run) for workflow in WORKFLOWS.values())
    return next((campaign for campaign in campaigns if campaign), None)
