from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Exists, OuterRef

from annotate.accounts.models import User
from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion
from annotate.lib.prepared import Shape, execute
from annotate.pools.models import Prompt
from annotate.work import queue
from annotate.work.access import is_theirs
from annotate.work.models import Assignment, Campaign, Draft, Task
from annotate.work.queries import campaigns_for
from annotate.work.shapes import CAMPAIGN, DRAFT, SLOT

# Stop counting waiting tasks here: an exact count of a large campaign is slow.
COUNTED = 100


@dataclass(frozen=True)
class Offer:
    """`left`: waiting tasks, at most COUNTED."""

    campaign: Campaign
    version: GuidelineVersion | None
    acknowledged: bool
    left: int
    held: Assignment | None

    @property
    def more(self) -> bool:
        return self.left >= COUNTED


def offers(labeler: User, held: Sequence[Assignment]) -> list[Offer]:
    """Campaigns that the labeler may work in: with a held task first, without tasks last.

    A constant number of queries.
    """
    campaigns = list(campaigns_for(labeler))
    versions = _current_versions(campaigns, labeler)
    left = queue.waiting(campaigns, labeler, COUNTED)
    held_in = {assignment.campaign_id: assignment for assignment in held}
    offers = [
        Offer(
            campaign=campaign,
            version=versions.get(campaign.guideline_id),
            acknowledged=bool(getattr(versions.get(campaign.guideline_id), "acknowledged", False)),
            left=left[campaign.id],
            held=held_in.get(campaign.id),
        )
        for campaign in campaigns
    ]
    return sorted(offers, key=lambda offer: (offer.held is None, not offer.left))


def _current_versions(campaigns: list[Campaign], labeler: User) -> dict[int, GuidelineVersion]:
    """The published version of each guideline, with `acknowledged`."""
    known = Acknowledgement.objects.filter(version=OuterRef("id"), labeler=labeler)
    versions = (
        GuidelineVersion.objects.filter(guideline__in=[campaign.guideline_id for campaign in campaigns])
        .exclude(published_at=None)
        .annotate(acknowledged=Exists(known))
        .order_by("guideline", "-number")
        .distinct("guideline")
    )
    return {version.guideline_id: version for version in versions}


TASK, PROMPT = Shape(Task, "task"), Shape(Prompt, "prompt")
GUIDELINE, VERSION = Shape(Guideline, "guideline"), Shape(GuidelineVersion, "version")
HAD_WITH_ITS_PAGE = f"""
SELECT {SLOT.columns}, {CAMPAIGN.columns}, {TASK.columns}, {PROMPT.columns}, {GUIDELINE.columns}, {VERSION.columns},
    {DRAFT.columns}
FROM work_assignment slot JOIN work_campaign campaign ON campaign.id = slot.campaign_id
JOIN work_task task ON task.id = slot.task_id LEFT JOIN pools_prompt prompt ON prompt.id = task.prompt_id
JOIN guidelines_guideline guideline ON guideline.id = campaign.guideline_id
LEFT JOIN guidelines_guidelineversion version ON version.id = slot.guideline_version_id
LEFT JOIN work_draft draft ON draft.task_id = slot.task_id AND draft.labeler_id = %(labeler)s
WHERE slot.id = %(assignment)s
"""


def had_with_its_page(labeler: User, assignment_id: int) -> tuple[Assignment, Draft | None] | None:
    """As `had`, with the rows of the task page and the labeler's draft, in one query."""
    with connection.cursor() as cursor:
        execute(cursor, HAD_WITH_ITS_PAGE, {"assignment": assignment_id, "labeler": labeler.id})
        row = cursor.fetchone()
    if row is None:
        return None
    assignment, row = SLOT.made(row)
    assignment.campaign, row = CAMPAIGN.made(row)
    assignment.task, row = TASK.made(row)
    assignment.task.prompt, row = PROMPT.made_if_any(row)
    assignment.campaign.guideline, row = GUIDELINE.made(row)
    assignment.guideline_version, row = VERSION.made_if_any(row)
    draft, _row = DRAFT.made_if_any(row)
    return (assignment, draft) if is_theirs(assignment, labeler) else None


def current_slot(labeler: User, assignment: Assignment) -> Assignment | None:
    """This slot, or another one of the task that a late submit took."""
    if assignment.labeler_id == labeler.id:
        return assignment
    return Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
