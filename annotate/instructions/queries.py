from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from annotate.accounts.models import User
from annotate.instructions.models import Brief, Instruction
from annotate.instructions.rules import Original, original
from annotate.pools.models import Prompt
from annotate.work.models import Campaign, Task


def prompts_of(campaign: Campaign) -> QuerySet[Prompt]:
    """The pool's prompts, all but those in quarantine and what the campaign itself brought forth: where source and
    target are one pool it would never end."""
    own = Instruction.objects.filter(prompt=OuterRef("id"), assignment__campaign=campaign)
    return Prompt.objects.filter(~Exists(own), pool=campaign.pool_id, quarantined_at=None).order_by("id")


def original_of(task: Task) -> Original | None:
    """The prompt to be rewritten; None where a new instruction is wanted."""
    prompt = task.prompt
    if prompt is None:
        return None
    return original(
        messages=prompt.messages,
        shots=prompt.shots,
        kind=prompt.kind,
        category=prompt.category,
        language=prompt.language,
        licence=prompt.licence,
    )


@dataclass(frozen=True)
class Wanted:
    """What a task asks for: the rewriting of `source`, or what `brief` says."""

    kind: str
    source: Original | None
    brief: Brief | None


def wanted(task: Task) -> Wanted:
    source = original_of(task)
    if source:
        return Wanted(source.kind, source, None)
    brief = Brief.objects.get(task=task)
    return Wanted(brief.kind, None, brief)


def written(assignment_id: int, labeler: User) -> Instruction | None:
    """What this labeler handed in for the slot, to be written again. Somebody else's text is never found."""
    return Instruction.objects.filter(assignment=assignment_id, assignment__labeler=labeler).first()
