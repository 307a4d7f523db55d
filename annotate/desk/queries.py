"""What one labeler finds on their desk."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from annotate.accounts.models import User
from annotate.guidelines.models import Acknowledgement, GuidelineVersion
from annotate.work import queue
from annotate.work.models import Assignment, Campaign
from annotate.work.queries import answers_of, campaigns_for, has_held, is_free
from annotate.work.states import CampaignState

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


def answers(labeler: User) -> QuerySet[Assignment]:
    """What the labeler submitted, newest first. A new instruction has no prompt: its own text is its name."""
    return answers_of(labeler).select_related("instruction")


# What a task's page shows besides the assignment.
ON_ITS_PAGE = ("campaign__guideline", "task__prompt", "guideline_version")


def had(labeler: User, assignment_id: int, *related: str) -> Assignment | None:
    """The assignment with its campaign and `related`, if the labeler has it or ever had its task."""
    assignment = Assignment.objects.select_related("campaign", *related).filter(id=assignment_id).first()
    if assignment is None or assignment.labeler_id == labeler.id or has_held(labeler, assignment.task_id):
        return assignment
    return None


def standing(labeler: User, assignment: Assignment) -> Assignment | None:
    """The slot of the task that is the labeler's now: this one, or the one a late submit took instead."""
    if assignment.labeler_id == labeler.id:
        return assignment
    return Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()


def can_still_submit(labeler: User, assignment: Assignment) -> bool:
    """After an expired lease: is a slot of the task free for them?"""
    if assignment.campaign.state == CampaignState.CLOSED:
        return False
    return is_free(labeler, assignment.task_id)
