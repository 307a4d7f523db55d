"""Review: the queue of answers and the page of a decision."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import person, reviewers
from annotate.accounts.models import User
from annotate.lib.addresses import id_in
from annotate.lib.message_cookie import say_once
from annotate.lib.paging import page_of
from annotate.studio import queries
from annotate.studio.forms import DecisionForm
from annotate.work import queries as work
from annotate.work import refusals
from annotate.work.models import Assignment
from annotate.work.refusals import Moved
from annotate.work.states import State
from annotate.work.workflow import Context
from annotate.workflows.actions import decide
from annotate.workflows.table import workflow_of

ACCEPTED = gettext_lazy("Accepted.")
SENT_BACK = gettext_lazy("Sent back with your comment.")
CHANGED = gettext_lazy(
    "The labeler has changed this answer since you opened it. Your decision was not stored. Read the answer again."
)


@require_safe
@reviewers
def review(request: HttpRequest) -> HttpResponse:
    """The queue, oldest first. `?campaign=` filters by campaign."""
    queue = work.to_review(person(request))
    chosen = _campaign(request)
    context = {
        "campaigns": queries.campaigns_to_review(person(request)),
        "chosen": chosen,
        "page": page_of(request, queue.filter(campaign=chosen) if chosen else queue),
    }
    return render(request, "studio/review.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reviewers
def answer(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """An answer to review. A POST decides and leads to the next one."""
    reviewed = Assignment.objects.filter(needs_review=True, submitted_at__isnull=False)
    related = ("campaign", "task__prompt", "labeler", "decided_by", "guideline_version__guideline")
    assignment = get_object_or_404(reviewed.select_related(*related), id=assignment_id)
    if assignment.labeler_id == person(request).id:
        messages.error(request, str(refusals.OwnAnswer.message))
        return redirect(_queue(request))
    form = DecisionForm(request.POST or None, initial={"read": _read(assignment)})
    if request.method == "POST" and form.is_valid():
        try:
            _decide(assignment, person(request), form)
            decided = True
        except Moved:
            assignment.refresh_from_db()
            decided = _is_decided_so(assignment, person(request), form)
        if decided:
            say_once(request, _success_message(form))
            return redirect(_next(request, assignment) or _queue(request))
        messages.error(request, _moved(assignment, person(request)))
        # A form for the current answer. Keep the reviewer's comment.
        form = DecisionForm(initial={"read": _read(assignment), "comment": form.cleaned_data["comment"]})
    return render(request, "studio/review_answer.html", _answer(request, assignment, form))


def _decide(assignment: Assignment, reviewer: User, form: DecisionForm) -> None:
    values = form.cleaned_data
    decide(
        assignment=assignment,
        read_at=values["read"],
        accepted=values["decision"] == "accept",
        reviewer=reviewer,
        comment=values["comment"],
        now=timezone.now(),
    )


def _is_decided_so(assignment: Assignment, reviewer: User, form: DecisionForm) -> bool:
    """Has a double click, or another tab, already stored this decision?"""
    values = form.cleaned_data
    state = State.ACCEPTED if values["decision"] == "accept" else State.SENT_BACK
    stored = (assignment.decided_by_id, assignment.submitted_at, assignment.state, assignment.comment)
    return stored == (reviewer.id, values["read"], state, values["comment"])


def _read(assignment: Assignment) -> str:
    """When the shown answer was submitted. Empty after an undo."""
    return assignment.submitted_at.isoformat() if assignment.submitted_at else ""


def _answer(request: HttpRequest, assignment: Assignment, form: DecisionForm) -> Context:
    workflow = workflow_of(assignment.campaign)
    return {
        "assignment": assignment,
        "prompt": assignment.task.prompt,
        "answer": render_to_string(workflow.answer_template, workflow.answer(assignment=assignment), request),
        "history": work.history(assignment),
        "waiting": assignment.state == State.SUBMITTED,
        "form": form,
        "chosen": _campaign(request),
        "next": _next(request, assignment),
        "queue": _queue(request),
    }


def _campaign(request: HttpRequest) -> int | None:
    return id_in(request.GET.get("campaign", ""))


def _queue(request: HttpRequest) -> str:
    chosen = _campaign(request)
    return reverse("studio:review") + (f"?campaign={chosen}" if chosen else "")


def _next(request: HttpRequest, assignment: Assignment) -> str | None:
    chosen = _campaign(request)
    following = queries.next_to_review(person(request), assignment, campaign=chosen)
    if following is None:
        return None
    address = reverse("studio:review-answer", args=[following.id])
    return address + (f"?campaign={chosen}" if chosen else "")


def _moved(assignment: Assignment, reviewer: User) -> str:
    if assignment.state == State.SUBMITTED:
        return str(CHANGED)
    if assignment.decided_by_id == reviewer.id:
        return _("You have already decided about this answer. Your second decision was not stored.")
    return _("%(name)s decided about this answer while you were reading it. Your decision was not stored.") % {
        "name": assignment.decided_by.name if assignment.decided_by else _("Somebody else")
    }


def _success_message(form: DecisionForm) -> str:
    return str(ACCEPTED if form.cleaned_data["decision"] == "accept" else SENT_BACK)
