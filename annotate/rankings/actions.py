import random
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from annotate.accounts.models import User
from annotate.pools.models import Prompt
from annotate.rankings.models import Candidate, Placing, Ranking, Showing, Slate
from annotate.rankings.queries import offers, placings, ready_prompts, shown_to, typed
from annotate.rankings.rules import Mark, dense, slate
from annotate.rankings.states import SlateState
from annotate.work import drafts, filling, submitting
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.submitting import Submission

FILL_BATCH = 500


def open_slates(*, campaign: Campaign, now: datetime) -> int:
    """Open tasks for prompts with enough different completions. Return the number of decided prompts.

    A prompt whose completions are too similar waits for further ones. Idempotent and safe to run concurrently: one
    transaction creates a task with its candidates.
    """
    texts: dict[int, int] = dict(ready_prompts(campaign)[:FILL_BATCH])
    if not texts:
        return 0
    settings = campaign.rankingsettings
    choices = offers(campaign, list(texts))
    slates = {prompt: slate(choice, settings.slate_max) for prompt, choice in choices.items()}
    none = [prompt for prompt, gathered in slates.items() if len(gathered.chosen) < settings.slate_min]
    with transaction.atomic():
        for prompt in none:
            Slate.objects.update_or_create(
                campaign=campaign,
                version=None,
                prompt_id=prompt,
                defaults={"state": SlateState.NONE, "why": slates[prompt].why, "texts": texts[prompt]},
            )
        fit = slates.keys() - none
        Slate.objects.filter(campaign=campaign, version=None, prompt__in=fit).delete()
        prompts = Prompt.objects.filter(id__in=fit).order_by("id")
        made = filling.add_tasks(campaign=campaign, prompts=prompts, now=now)
        Candidate.objects.bulk_create(
            Candidate(task_id=task, completion_id=completion)
            for task, prompt in made
            for completion in slates[prompt].chosen
        )
    return len(made) + len(none)


def show(*, task: Task, labeler: User, now: datetime) -> list[Candidate]:
    """Return the slate in this labeler's order. The first call stores it. No seed, so ids do not reveal it."""
    candidates = {row.id: row for row in Candidate.objects.filter(task=task).select_related("completion")}
    order = sorted(candidates)
    random.SystemRandom().shuffle(order)
    showing, _created = Showing.objects.get_or_create(
        task=task, labeler=labeler, defaults={"order": order, "shown_at": now}
    )
    return [candidates[candidate] for candidate in showing.order]


def submit(
    *,
    assignment_id: int,
    labeler: User,
    marks: Mapping[int, Mark],
    note: str,
    submit_key: UUID,
    now: datetime,
) -> Submission:
    """`marks`: by candidate id. Raises a Refusal."""
    with transaction.atomic():
        outcome = submitting.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces=_record,
        )
        if not outcome.repeated:
            # After an expired lease, this may be another slot of the task.
            ranking, _created = Ranking.objects.update_or_create(
                assignment=outcome.assignment, defaults={"note": note, "ranked_at": now}
            )
            ranks = dense({candidate: mark.place for candidate, mark in marks.items()})
            ranking.placings.all().delete()
            Placing.objects.bulk_create(
                Placing(ranking=ranking, candidate_id=candidate, rating=mark.rating, rank=ranks[candidate])
                for candidate, mark in marks.items()
            )
        return outcome


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Turn the last submit into the task's draft. Raises a Refusal."""
    with transaction.atomic():
        assignment = submitting.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        ranking = Ranking.objects.get(assignment=assignment)
        body = {name: [text] for name, text in typed(ranking, shown_to(assignment)).items()}
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now)
        if not assignment.rounds:
            ranking.placings.all().delete()
            ranking.delete()
        return assignment


def _record(assignment: Assignment) -> dict[str, object] | None:
    """The replaced ranking, for the event log."""
    rows = placings(assignment.ranking).values("candidate", "rating", "rank")
    return {"note": assignment.ranking.note, "placings": list(rows)}
