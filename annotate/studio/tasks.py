import logging

from celery import shared_task
from django.utils import timezone

from annotate.work.models import Campaign, Workflow
from annotate.work.states import CampaignState
from annotate.workflows import WORKFLOWS

log = logging.getLogger(__name__)


@shared_task(name="studio.fill_campaigns")
def fill_campaigns(pool_id: int | None = None) -> None:
    """Make the tasks that open campaigns miss: for new prompts, ready slates, a campaign just opened.

    Safe to run twice and at once: unique indexes decide which of two makes a task.
    """
    campaigns = Campaign.objects.filter(state=CampaignState.OPEN).select_related("pool").order_by("id")
    if pool_id is not None:
        campaigns = campaigns.filter(pool=pool_id)
    for campaign in campaigns:
        try:
            _fill(campaign)
        except Exception:
            # Whatever is wrong with one campaign, the others still want their tasks.
            log.exception("campaign %s could not be filled", campaign.id)


def _fill(campaign: Campaign) -> None:
    fill = WORKFLOWS[Workflow(campaign.workflow)].fill
    while fill(campaign, timezone.now()):
        # A campaign that is paused or closed meanwhile gets no further tasks.
        if not Campaign.objects.filter(id=campaign.id, state=CampaignState.OPEN).exists():
            return
