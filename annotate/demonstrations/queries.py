from django.db.models import QuerySet

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.pools.models import Prompt
from annotate.work.models import Campaign


def prompts_of(campaign: Campaign) -> QuerySet[Prompt]:
    """The pool's prompts, except those in quarantine."""
    return Prompt.objects.filter(pool=campaign.pool_id, quarantined_at=None).order_by("id")


def earlier_answer(assignment_id: int, labeler: User) -> Demonstration | None:
    """This labeler's earlier answer for a sent-back slot."""
    return Demonstration.objects.filter(assignment=assignment_id, assignment__labeler=labeler).first()
