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

# PostgreSQL then needs new statistics.
LARGE_FILL = 50_000
# Wait for another transaction's lock.
RETRY_SECONDS = 0.01


@shared_task(name="workflows.fill_campaigns")
def fill_campaigns(pool_id: int | None = None) -> None:
    """Create missing tasks, and match slots to a changed overlap.

    Idempotent and safe to run concurrently: unique indexes and the campaign's lock prevent duplicates.
    """
    states = [CampaignState.OPEN, CampaignState.PAUSED]
    campaigns = Campaign.objects.filter(state__in=states).select_related("pool").order_by("id")
    if pool_id is not None:
        campaigns = campaigns.filter(pool=pool_id)
    for campaign in campaigns:
        try:
            # Each step commits, so another worker can continue.
            while campaign.matched_to is not None and filling.match_overlap(campaign=campaign, now=timezone.now()):
                time.sleep(RETRY_SECONDS)
            if campaign.state == CampaignState.OPEN:
                _fill(campaign)
        except Exception:
            # The other campaigns must continue.
            log.exception("campaign %s could not be filled", campaign.id)


def _fill(campaign: Campaign) -> None:
    workflow = workflow_of(campaign)
    made = 0
    while new := workflow.fill(campaign=campaign, now=timezone.now()):
        made += new
        if not Campaign.objects.filter(id=campaign.id, state=CampaignState.OPEN).exists():
            break
    if made >= LARGE_FILL:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE work_task, work_assignment")
        counts.count(campaign, now=timezone.now())
