"""Rankings as the desk and the studio see them. Candidates go out under their letters alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.rankings import actions, queries, stock, supply
from annotate.rankings.forms import RankingForm
from annotate.rankings.models import Candidate
from annotate.rankings.rules import LETTERS
from annotate.samples.models import FinishReason
from annotate.work.models import Assignment, Campaign
from annotate.work.submitting import Submission
from annotate.work.workflow import BadAnswer, Bench, Context

CUT_OFF = _("Cut off at the length limit")


@dataclass(frozen=True)
class Card:
    """A candidate as a labeler may see it: nothing here says who wrote it."""

    letter: str
    text: str
    finish_note: Any = ""
    rating: str = ""
    place: str = ""
    errors: tuple[str, ...] = ()


def fill(campaign: Campaign, now: datetime) -> int:
    if stock.parts_of(campaign):
        return supply.supply(campaign=campaign, now=now)
    return actions.open_slates(campaign=campaign, now=now)


def readmit(campaign: Campaign, prompts: list[int]) -> None:
    supply.look_from(campaign=campaign, prompt_id=min(prompts))


def show(assignment: Assignment, labeler: User, draft: QueryDict | None, now: datetime) -> Context:
    shown = actions.show(task=assignment.task, labeler=labeler, now=now)
    initial: Context
    if draft is not None:
        initial = draft.dict()
    else:
        earlier = queries.written(assignment.id, labeler) if assignment.rounds else None
        initial = queries.typed(earlier, shown) if earlier else {}
    return _part(RankingForm(candidates=len(shown), initial=initial), shown)


def submit(assignment_id: int, labeler: User, data: QueryDict, submit_key: UUID, now: datetime) -> Submission:
    assignment = Assignment.objects.select_related("task").get(id=assignment_id)
    shown = actions.show(task=assignment.task, labeler=labeler, now=now)
    form = RankingForm(data, candidates=len(shown))
    if not form.is_valid():
        raise BadAnswer(_part(form, shown))
    marks = {candidate.id: form.marks[letter] for letter, candidate in zip(form.letters, shown, strict=True)}
    return actions.submit(
        assignment_id=assignment_id,
        labeler=labeler,
        marks=marks,
        note=form.cleaned_data["note"],
        submit_key=submit_key,
        now=now,
    )


def undo(assignment_id: int, labeler: User, now: datetime) -> Assignment:
    return actions.undo(assignment_id=assignment_id, labeler=labeler, now=now)


def accept(assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    return actions.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)


def answer(assignment: Assignment) -> Context:
    """The places of a ranking, best first, each with its candidates as their labeler saw them."""
    ranking = assignment.ranking
    shown = queries.shown_to(assignment)
    letters = {candidate.id: (letter, candidate) for letter, candidate in zip(LETTERS, shown, strict=False)}
    placed = groupby(queries.placings(ranking), key=lambda placing: placing.rank)
    places = [
        (rank, sorted((_card(*letters[row.candidate_id], rating=str(row.rating)) for row in rows), key=_letter))
        for rank, rows in placed
    ]
    return {"places": places, "note": ranking.note}


def _part(form: RankingForm, shown: Iterable[Candidate]) -> Context:
    cards = [
        _card(
            letter,
            candidate,
            rating=str(form.rating(letter).value() or ""),
            place=str(form.place(letter).value() or ""),
            errors=(*form.rating(letter).errors, *form.place(letter).errors),
        )
        for letter, candidate in zip(form.letters, shown, strict=True)
    ]
    return {"form": form, "candidates": cards}


def _card(letter: str, candidate: Candidate, **values: Any) -> Card:
    completion = candidate.completion
    note = CUT_OFF if completion.finish_reason == FinishReason.LENGTH else ""
    return Card(letter, completion.text, finish_note=note, **values)


def _letter(card: Card) -> str:
    return card.letter


BENCH = Bench(
    prompts=queries.prompts_of,
    fill=fill,
    readmit=readmit,
    task_part="rankings/_task.html",
    show=show,
    submit=submit,
    undo=undo,
    accept=accept,
    answer_part="rankings/_answer.html",
    answer=answer,
)
