"""Answers as the engine and the benches leave them, without the way there."""

from datetime import timedelta
from typing import Any

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.instructions.models import Instruction
from annotate.pools.models import Kind, Prompt
from annotate.rankings.models import Candidate, Placing, Ranking, Showing
from annotate.samples.models import Completion
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.states import State
from tests import factories as make

NOW = make.NOW


def assignment(campaign: Campaign, prompt: Prompt | None, labeler: User, state: str = State.ACCEPTED) -> Assignment:
    """A submitted answer's slot, on the prompt's one task."""
    task = Task.objects.filter(campaign=campaign, prompt=prompt).first() if prompt else None
    task = task or Task.objects.create(campaign=campaign, prompt=prompt, created_at=NOW)
    slot = task.assignments.count() + 1
    decided = state in (State.ACCEPTED, State.SENT_BACK)
    return Assignment.objects.create(
        task=task,
        campaign=campaign,
        slot=slot,
        position=task.id * 64 + slot,
        state=state,
        labeler=labeler,
        leased_until=NOW + timedelta(minutes=30) if state == State.LEASED else None,
        submitted_at=NOW,
        guideline_version=campaign.guideline.versions.order_by("-number").first(),
        needs_review=state != State.ACCEPTED,
        decided_at=NOW if decided else None,
        rounds=1 if state in (State.SENT_BACK, State.LEASED) else 0,
    )


def demonstration(
    campaign: Campaign, prompt: Prompt, labeler: User, text: str = "An answer.", **fields: Any
) -> Demonstration:
    return Demonstration.objects.create(
        assignment=assignment(campaign, prompt, labeler, **fields), text=text, written_at=NOW
    )


def few_shot(campaign: Campaign, labeler: User, prompt: Prompt | None, **fields: Any) -> Instruction:
    """A written few-shot instruction; `prompt` is what came of it."""
    pairs = [{"query": "2 + 2", "response": "4"}, {"query": "3 + 3", "response": "6"}]
    return Instruction.objects.create(
        assignment=assignment(campaign, None, labeler, **fields),
        kind=Kind.FEW_SHOT,
        text="Add the numbers.",
        pairs=pairs,
        written_at=NOW,
        prompt=prompt,
        refusal="" if prompt else "It equals a prompt that is there already.",
    )


def slate(campaign: Campaign, prompt: Prompt, completions: list[Completion]) -> list[Candidate]:
    task = Task.objects.create(campaign=campaign, prompt=prompt, created_at=NOW)
    return [Candidate.objects.create(task=task, completion=completion) for completion in completions]


def ranking(
    candidates: list[Candidate],
    labeler: User,
    ranks: list[int],
    *,
    ratings: list[int] | None = None,
    shown: list[int] | None = None,
    **fields: Any,
) -> Ranking:
    """`shown`: indexes of the candidates in the order they were shown, as they come if not given."""
    task = candidates[0].task
    order = [candidates[i].id for i in shown or range(len(candidates))]
    Showing.objects.create(task=task, labeler=labeler, order=order, shown_at=NOW)
    row = Ranking.objects.create(assignment=assignment(task.campaign, task.prompt, labeler, **fields), ranked_at=NOW)
    ratings = ratings or [8 - rank for rank in ranks]
    Placing.objects.bulk_create(
        Placing(ranking=row, candidate=candidate, rank=rank, rating=rating)
        for candidate, rank, rating in zip(candidates, ranks, ratings, strict=True)
    )
    return row
