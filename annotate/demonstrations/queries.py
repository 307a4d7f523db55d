from django.db.models import Exists, OuterRef, QuerySet

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.pools.models import Prompt
from annotate.work.models import Campaign, Task


def prompts_of(campaign: Campaign) -> QuerySet[Prompt]:
    return Prompt.objects.filter(pool=campaign.pool_id).order_by("id")


def prompts_without_task(campaign: Campaign) -> QuerySet[Prompt]:
    """Prompts of the campaign's pool that nobody is asked to answer yet, oldest first."""
    asked = Task.objects.filter(campaign=campaign, prompt=OuterRef("id"))
    return prompts_of(campaign).filter(~Exists(asked))


def written(assignment_id: int, labeler: User) -> Demonstration | None:
    """What this labeler handed in for the slot, to be written again. Somebody else's answer is never found."""
    return Demonstration.objects.filter(assignment=assignment_id, assignment__labeler=labeler).first()
