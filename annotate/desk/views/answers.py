"""What the labeler has submitted: read it, take it back, revise it."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from annotate.accounts.access import labelers, person
from annotate.desk.views.claiming import had_or_404, page_or_404, task_page
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import Refusal
from annotate.work import queries as work
from annotate.work import submitting
from annotate.work.states import CampaignState, State
from annotate.workflows.queries import titles
from annotate.workflows.table import workflow_of

UNDONE = gettext_lazy("Your answer is back. Change it, then submit it again.")


@labelers
@post_or_redirect(task_page, refused="desk:home")
def undo(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Undo the last submit. A task claimed after it becomes a prefetched one."""
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    try:
        undone = workflow_of(assignment.campaign).undo(assignment_id=assignment.id, labeler=labeler, now=now)
    except Refusal:
        current = had_or_404(labeler, assignment_id)
        if current.labeler_id == labeler.id and current.state == State.LEASED:
            return redirect("desk:task", current.id)
        raise
    messages.info(request, UNDONE)
    return redirect("desk:task", undone.id)


@labelers
@post_or_redirect(task_page, refused="desk:home")
def resume(request: HttpRequest, assignment_id: int) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    resumed = submitting.resume(assignment_id=assignment.id, labeler=labeler, now=now)
    return redirect("desk:task", resumed.id)


@require_safe
@labelers
def answers(request: HttpRequest) -> HttpResponse:
    page = page_of(request, work.answers_of(person(request)))
    return render(request, "desk/answers.html", {"page": page, "titles": titles(list(page))})


@require_safe
@labelers
def answer(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment, _draft = page_or_404(person(request), assignment_id)
    if assignment.labeler_id != person(request).id or assignment.submitted_at is None:
        raise Http404
    workflow = workflow_of(assignment.campaign)
    context = {
        "assignment": assignment,
        "answer_template": workflow.answer_template,
        "can_undo": submitting.can_undo(assignment, person(request), timezone.now()),
        "can_resume": assignment.state == State.SENT_BACK and assignment.campaign.state != CampaignState.CLOSED,
    }
    return render(request, "desk/answer.html", workflow.answer(assignment=assignment) | context)
