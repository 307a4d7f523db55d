import logging
import time

from celery import shared_task
from django.db import connection
from django.utils import timezone

from annotate.work import filling
from annotate.work.models import Campaign
from annotate.work.states import CampaignState
from annotate.workflows import counts
from annotate.workflows.table import workflow_of

log = logging.getLogger(__name__)

# After so many new tasks PostgreSQL should look at its tables anew, or it goes on planning for small ones.
LARGE_FILL = 50_000
# Seconds to wait before retrying a step that another transaction's lock kept from finishing.
RETRY_SECONDS = 0.01


@shared_task(name="workflows.fill_campaigns")
def fill_campaigns(pool_id: int | None = None) -> None:
    """Make the tasks that open campaigns miss: for new prompts, ready slates, a campaign just opened. Where a
    campaign's overlap was changed, also of a paused one, make or cancel the slots that this takes.

    Safe to run twice and at once: unique indexes and the campaign's row decide which of two does what.
    """
    states = [CampaignState.OPEN, CampaignState.PAUSED]
    campaigns = Campaign.objects.filter(state__in=states).select_related("pool").order_by("id")
    if pool_id is not None:
        campaigns = campaigns.filter(pool=pool_id)
    for campaign in campaigns:
        try:
            # Wherever a worker left a change of the overlap, the next one goes on.
            while campaign.matched_to is not None and filling.match_overlap(campaign=campaign, now=timezone.now()):
                time.sleep(RETRY_SECONDS)
            if campaign.state == CampaignState.OPEN:
                _fill(campaign)
        except Exception:
            # Whatever is wrong with one campaign, the others still want their tasks.
            log.exception("campaign %s could not be filled", campaign.id)


def _fill(campaign: Campaign) -> None:
    workflow = workflow_of(campaign)
    made = 0
    while new := workflow.fill(campaign=campaign, now=timezone.now()):
        made += new
        # A campaign that is paused or closed meanwhile gets no further tasks.
        if not Campaign.objects.filter(id=campaign.id, state=CampaignState.OPEN).exists():
            break
    if made >= LARGE_FILL:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE work_task, work_assignment")
        # Whoever opens the campaign's page next need not wait for its numbers.
        counts.count(campaign, now=timezone.now())
