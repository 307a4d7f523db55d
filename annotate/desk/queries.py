"""What one labeler finds on their desk."""

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

# Whether a hundred tasks wait or a million makes no difference to the one who takes the next; counting them would.
COUNTED = 100


@dataclass(frozen=True)
class Offer:
    """A campaign open to the labeler. `left` stops counting at COUNTED."""

    campaign: Campaign
    version: GuidelineVersion | None
    acknowledged: bool
    left: int
    held: Assignment | None

    @property
    def more(self) -> bool:
        return self.left >= COUNTED


def offers(labeler: User, held: Sequence[Assignment]) -> list[Offer]:
    """The campaigns open to the labeler, those first in which they hold a task, and those last that have none left.

    The number of queries does not grow with the campaigns.
    """
    campaigns = list(campaigns_for(labeler))
    versions = _current_versions(campaigns, labeler)
    left = queue.waiting(campaigns, labeler, COUNTED)
    in_hand = {assignment.campaign_id: assignment for assignment in held}
    found = [
        Offer(
            campaign=campaign,
            version=versions.get(campaign.guideline_id),
            acknowledged=bool(getattr(versions.get(campaign.guideline_id), "acknowledged", False)),
            left=left[campaign.id],
            held=in_hand.get(campaign.id),
        )
        for campaign in campaigns
    ]
    return sorted(found, key=lambda offer: (offer.held is None, not offer.left))


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
    """The same with all that its page shows, and what the labeler has typed there."""
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


def standing(labeler: User, assignment: Assignment) -> Assignment | None:
    """The slot of the task that is the labeler's now: this one, or the one a late submit took instead."""
    if assignment.labeler_id == labeler.id:
        return assignment
    return Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
