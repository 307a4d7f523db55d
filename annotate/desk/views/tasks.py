"""The page of a task, and all that it sends."""

from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate.accounts.access import labelers, person
from annotate.accounts.models import User
from annotate.desk import forms, queries
from annotate.desk.views.claiming import ask_for_more, had_or_404, page_or_404, task_page, to_next_task
from annotate.guidelines.queries import acknowledged_version
from annotate.lib.message_cookie import say_once
from annotate.lib.methods import post_or_redirect, refusals_as_json
from annotate.lib.refusals import Refusal
from annotate.work import drafts, leases, lost, refusals, times
from annotate.work.models import Assignment, Draft, Hand
from annotate.work.states import State
from annotate.work.workflow import BadAnswer, Context
from annotate.workflows.table import workflow_of

# Characters. A longer text would block a web worker.
PREVIEWED = 200_000

SUBMITTED = gettext_lazy("Submitted.")
SKIPPED = gettext_lazy("You skipped the task. You will not see it again.")
NOT_A_DRAFT = gettext_lazy("The draft is not a JSON object of form fields. Load the task again.")


@require_safe
@labelers
def task(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The browser may cache a prefetched page until its lease ends."""
    labeler, now = person(request), timezone.now()
    assignment, draft = page_or_404(labeler, assignment_id)
    response = _task(request, assignment, draft, now)
    ahead = assignment.hand == Hand.PREFETCHED and assignment.leased_until
    if "ahead" in request.GET and ahead and response.status_code == 200:
        patch_cache_control(response, private=True, max_age=max(0, int((ahead - now).total_seconds())))
    else:
        add_never_cache_headers(response)
    return response


def _task(request: HttpRequest, assignment: Assignment, draft: Draft | None, now: datetime) -> HttpResponse:
    labeler = person(request)
    current = queries.current_slot(labeler, assignment)
    if current and current.state != State.LEASED:
        return redirect("desk:answer", current.id)
    if current and current.id != assignment.id:
        return redirect("desk:task", current.id)
    try:
        # Labelers without JavaScript send no heartbeats.
        leased_until = leases.renew(assignment_id=assignment.id, labeler=labeler, now=now)
    except refusals.LeaseLost:
        leased_until = None
    if not leased_until and not lost.takes_late(assignment.campaign, assignment.task_id, labeler):
        refused = lost.lease_lost(assignment.campaign, assignment, labeler)
        return _lost(request, assignment, draft.body if draft else {}, refused, key=None, status=200)
    part = workflow_of(assignment.campaign).show(
        assignment=assignment, labeler=labeler, draft=forms.typed(draft.body if draft else None), now=now
    )
    return _page(request, assignment, part | {"seen": draft.version if draft else ""}, leased_until)


@require_POST
@labelers
def ahead(request: HttpRequest, campaign_id: int) -> JsonResponse:
    labeler, now = person(request), timezone.now()
    try:
        claimed = leases.prefetch(campaign_id=campaign_id, labeler=labeler, now=now)
    except refusals.NotYours as outsider:
        raise Http404 from outsider
    except Refusal as refused:
        ask_for_more(campaign_id, refused)
        # An error status would show in the browser's console.
        return JsonResponse({"page": None, "words": str(refused)})
    return JsonResponse({"page": reverse("desk:task", args=[claimed.id]), "leased_until": claimed.leased_until})


@labelers
@post_or_redirect(task_page)
def submit(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Scripts get JSON, to tell it from a proxy's error page."""
    labeler, now, scripted = person(request), timezone.now(), _scripted(request)
    assignment = had_or_404(labeler, assignment_id)
    key = forms.submit_key(request.POST)
    if key is None:
        message = _("This form is incomplete. Load the task again.")
        return JsonResponse({"words": message}, status=400) if scripted else HttpResponseBadRequest(message)
    _count_time(assignment, labeler, request.POST.get("active", ""), now)
    workflow = workflow_of(assignment.campaign)
    try:
        submission = workflow.submit(
            assignment_id=assignment.id, labeler=labeler, typed=request.POST, submit_key=key, now=now
        )
    except BadAnswer as bad:
        # The browser may delete its copy of the text.
        _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
        if scripted:
            return JsonResponse({"words": bad.words}, status=422)
        until = assignment.leased_until if assignment.labeler_id == labeler.id else None
        return _page(request, assignment, bad.context | {"submit_key": key}, until, status=422)
    except Refusal as refused:
        body = forms.draft_from_form(request.POST)
        _keep(assignment, labeler, body, now)
        if scripted:
            return JsonResponse({"words": str(refused)}, status=409)
        return _lost(request, assignment, body, refused, key=key, status=409)
    if scripted:
        # The script shows the message: it may have prefetched the next page.
        can_undo = assignment.campaign.undo_minutes > 0
        undo_address = reverse("desk:undo", args=[submission.assignment.id]) if can_undo else None
        return JsonResponse({"next": _after_submit(request, assignment, now).url, "undo": undo_address})
    say_once(request, str(SUBMITTED))
    # Without JavaScript, the address gives the next text field the focus.
    field = "#id_text" if workflow.writes_text else ""
    return _after_submit(request, assignment, now, field)


@require_POST
@labelers
@refusals_as_json
def draft(request: HttpRequest, assignment_id: int) -> JsonResponse:
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    try:
        body, seen = forms.draft_from_json(request.body)
    except forms.BadDraft:
        return JsonResponse({"words": str(NOT_A_DRAFT)}, status=400)
    saved = drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now, seen=seen)
    return JsonResponse({"saved_at": saved.saved_at, "version": saved.version, "unseen": saved.unseen})


@require_POST
@labelers
@refusals_as_json
def renew(request: HttpRequest, assignment_id: int) -> JsonResponse:
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    _count_time(assignment, labeler, forms.heartbeat(request.body).get("active", ""), now)
    until = leases.renew(assignment_id=assignment.id, labeler=labeler, now=now)
    return JsonResponse({"leased_until": until})


@labelers
@post_or_redirect(task_page, refused="desk:home")
def skip(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Without JavaScript, the button sends the task's form, and another page asks for the reason."""
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    has_reason = "skip-sent" in request.POST
    form = forms.SkipForm(request.POST if has_reason else None)
    if not has_reason:
        _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    if not form.is_valid():
        context = {"assignment": assignment, "skip_fields": partial(forms.fields, form)}
        return render(request, "desk/skip.html", context, status=422 if has_reason else 200)
    leases.skip(assignment_id=assignment.id, labeler=labeler, now=now, **form.cleaned_data)
    messages.info(request, SKIPPED)
    return to_next_task(request, assignment.campaign_id, now)


@labelers
@post_or_redirect(task_page, refused="desk:home")
def release(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The button sends the task's form, to store the draft without JavaScript too."""
    labeler, now = person(request), timezone.now()
    assignment = had_or_404(labeler, assignment_id)
    _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    leases.release(assignment_id=assignment.id, labeler=labeler, now=now)
    messages.info(request, _("The task is back in the queue. Your text is saved in case you get the task again."))
    return redirect("desk:home")


@require_POST
@labelers
def preview(request: HttpRequest) -> HttpResponse:
    text = request.POST.get("text", "")
    return render(
        request, "desk/_preview.html", {"text": text[:PREVIEWED], "most": PREVIEWED, "cut": len(text) > PREVIEWED}
    )


def _page(
    request: HttpRequest, assignment: Assignment, part: Context, leased_until: datetime | None, *, status: int = 200
) -> HttpResponse:
    """The task's page, with a new submit key: sending one page twice is one submit."""
    # After an expired lease, the slot and its comment may belong to another labeler.
    sent_back = bool(assignment.rounds) and assignment.labeler_id == person(request).id
    workflow = workflow_of(assignment.campaign)
    context = {
        "assignment": assignment,
        "version": assignment.guideline_version or acknowledged_version(person(request), assignment.campaign.guideline),
        "workflow": workflow,
        "heading": workflow.heading(task=assignment.task),
        "submit_key": uuid4(),
        "skip_fields": partial(forms.empty_skip_fields, get_language() or ""),
        "sent_back": sent_back,
        "leased_until": leased_until,
        "late": leased_until is None,
        # Three heartbeats per lease, so one may fail; at least one a minute.
        "renew_seconds": min(60, assignment.campaign.lease_minutes * 20),
    }
    return render(request, "desk/task.html", context | part, status=status)


def _lost(
    request: HttpRequest, assignment: Assignment, body: Context, refused: Exception, *, key: UUID | None, status: int
) -> HttpResponse:
    """Show the text, to copy: the labeler may not submit it any more."""
    context = {"assignment": assignment, "text": forms.as_text(body), "words": str(refused), "submit_key": key}
    context["handed_in"] = isinstance(refused, refusals.AlreadySubmitted)
    context["skipped"] = isinstance(refused, refusals.Skipped)
    return render(request, "desk/lost.html", context, status=status)


def _count_time(assignment: Assignment, labeler: User, report: object, now: datetime) -> None:
    if active := forms.active(report):
        times.count(task_id=assignment.task_id, labeler=labeler, visit=active.visit, total=active.total, now=now)


def _keep(assignment: Assignment, labeler: User, body: Context, now: datetime) -> None:
    try:
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now)
    except Refusal:
        pass  # the response explains it


def _scripted(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _after_submit(request: HttpRequest, assignment: Assignment, now: datetime, field: str = "") -> HttpResponseRedirect:
    if request.POST.get("then") == "stop":
        leases.release_prefetched(campaign_id=assignment.campaign_id, labeler=person(request), now=now)
        return redirect("desk:home")
    try:
        return to_next_task(request, assignment.campaign_id, now, field)
    except Http404:
        # The submit is stored, but the labeler may not work here any more.
        return redirect("desk:home")
