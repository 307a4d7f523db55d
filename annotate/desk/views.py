from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.accounts.access import labelers, person
from annotate.accounts.models import User
from annotate.desk import forms, queries
from annotate.guidelines.actions import acknowledge
from annotate.guidelines.models import GuidelineVersion
from annotate.guidelines.queries import acknowledged_version, current_version
from annotate.lib.diff import Piece, word_diff
from annotate.lib.message_cookie import say_once
from annotate.lib.methods import post_or_redirect, refusals_as_json
from annotate.lib.paging import page_of
from annotate.lib.refusals import Refusal
from annotate.work import drafts, leases, lost, refusals, submitting, times
from annotate.work import queries as work
from annotate.work.access import had
from annotate.work.eligibility import is_eligible
from annotate.work.models import Assignment, Campaign, Draft, Hand
from annotate.work.states import CampaignState, State
from annotate.work.workflow import BadAnswer, Context
from annotate.workflows.queries import titles
from annotate.workflows.table import workflow_of

# Characters. A longer text would block a web worker.
PREVIEWED = 200_000
UNDONE = gettext_lazy("Your answer is back. Change it, then submit it again.")
NOT_A_DRAFT = gettext_lazy("The draft is not a JSON object of form fields. Load the task again.")


def _task_page(request: HttpRequest, assignment_id: int) -> str:
    """404 for other labelers."""
    return reverse("desk:task", args=[_had_or_404(person(request), assignment_id).id])


def _held_page(request: HttpRequest, campaign_id: int) -> str:
    """The labeler's task in this campaign, or the list of campaigns."""
    labeler = person(request)
    held = [assignment.id for assignment in work.held(labeler) if assignment.campaign_id == campaign_id]
    if held:
        return reverse("desk:task", args=held[:1])
    if not is_eligible(get_object_or_404(Campaign, id=campaign_id), labeler):
        raise Http404
    return reverse("desk:home")


@require_safe
@labelers
def home(request: HttpRequest) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    held = list(work.held(labeler))
    offers = queries.offers(labeler, held)
    offered = {offer.campaign.id for offer in offers}
    today = work.answered_today(labeler, now)
    context = {
        "offers": offers,
        # Labelers finish tasks of campaigns that are paused or closed meanwhile.
        "elsewhere": [assignment for assignment in held if assignment.campaign_id not in offered],
        "sent_back": work.sent_back(labeler),
        "today": today,
        "most": labeler.daily_cap,
        "enough": labeler.daily_cap is not None and today >= labeler.daily_cap,
    }
    return render(request, "desk/home.html", context)


@labelers
@post_or_redirect(_held_page)
def next_task(request: HttpRequest, campaign_id: int) -> HttpResponse:
    return _to_next_task(request, campaign_id, timezone.now())


@require_safe
@labelers
def task(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The browser may cache a prefetched page until its lease ends."""
    labeler, now = person(request), timezone.now()
    assignment, draft = _page_or_404(labeler, assignment_id)
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
        _ask_for_more(campaign_id, refused)
        # An error status would show in the browser's console.
        return JsonResponse({"page": None, "words": str(refused)})
    return JsonResponse({"page": reverse("desk:task", args=[claimed.id]), "leased_until": claimed.leased_until})


@labelers
@post_or_redirect(_task_page)
def submit(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Scripts get JSON, to tell it from a proxy's error page."""
    labeler, now, scripted = person(request), timezone.now(), _scripted(request)
    assignment = _had_or_404(labeler, assignment_id)
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
    say_once(request, _("Submitted."))
    # Without JavaScript, the address gives the next text field the focus.
    field = "#id_text" if workflow.writes_text else ""
    return _after_submit(request, assignment, now, field)


@require_POST
@labelers
@refusals_as_json
def draft(request: HttpRequest, assignment_id: int) -> JsonResponse:
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    try:
        body, seen = forms.draft_from_json(request.body)
    except forms.BadDraft:
        return JsonResponse({"words": str(NOT_A_DRAFT)}, status=400)
    saved = drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now, seen=seen)
    return JsonResponse({"saved_at": saved.saved_at, "version": saved.version, "unseen": saved.unseen})


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def undo(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Undo the last submit. A task claimed after it becomes a prefetched one."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    try:
        undone = workflow_of(assignment.campaign).undo(assignment_id=assignment.id, labeler=labeler, now=now)
    except Refusal:
        current = _had_or_404(labeler, assignment_id)
        if current.labeler_id == labeler.id and current.state == State.LEASED:
            return redirect("desk:task", current.id)
        raise
    messages.info(request, UNDONE)
    return redirect("desk:task", undone.id)


@require_POST
@labelers
@refusals_as_json
def renew(request: HttpRequest, assignment_id: int) -> JsonResponse:
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    _count_time(assignment, labeler, forms.heartbeat(request.body).get("active", ""), now)
    until = leases.renew(assignment_id=assignment.id, labeler=labeler, now=now)
    return JsonResponse({"leased_until": until})


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def skip(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Without JavaScript, the button sends the task's form, and another page asks for the reason."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    has_reason = "skip-sent" in request.POST
    form = forms.SkipForm(request.POST if has_reason else None)
    if not has_reason:
        _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    if not form.is_valid():
        context = {"assignment": assignment, "skip_fields": partial(forms.fields, form)}
        return render(request, "desk/skip.html", context, status=422 if has_reason else 200)
    leases.skip(assignment_id=assignment.id, labeler=labeler, now=now, **form.cleaned_data)
    messages.info(request, _("You skipped the task. You will not see it again."))
    return _to_next_task(request, assignment.campaign_id, now)


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def release(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The button sends the task's form, to store the draft without JavaScript too."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    leases.release(assignment_id=assignment.id, labeler=labeler, now=now)
    messages.info(request, _("The task is back in the queue. Your text is saved in case you get the task again."))
    return redirect("desk:home")


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def resume(request: HttpRequest, assignment_id: int) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    resumed = submitting.resume(assignment_id=assignment.id, labeler=labeler, now=now)
    return redirect("desk:task", resumed.id)


@require_POST
@labelers
def preview(request: HttpRequest) -> HttpResponse:
    text = request.POST.get("text", "")
    return render(
        request, "desk/_preview.html", {"text": text[:PREVIEWED], "most": PREVIEWED, "cut": len(text) > PREVIEWED}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@labelers
def guideline(request: HttpRequest, campaign_id: int) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    campaign = get_object_or_404(
        Campaign.objects.select_related("guideline").exclude(state=CampaignState.DRAFT), id=campaign_id
    )
    if not is_eligible(campaign, labeler):
        raise Http404
    if request.method == "POST":
        published = campaign.guideline.versions.exclude(published_at=None)
        read = get_object_or_404(published, id=forms.number(request.POST, "version"))
        acknowledge(version=read, labeler=labeler, now=now)
        return _to_next_task(request, campaign.id, now)
    version, known = current_version(campaign.guideline), acknowledged_version(labeler, campaign.guideline)
    context = {"campaign": campaign, "version": version, "known": known, "pieces": _changes(known, version)}
    return render(request, "desk/guideline.html", context)


@require_safe
@labelers
def answers(request: HttpRequest) -> HttpResponse:
    page = page_of(request, work.answers_of(person(request)))
    return render(request, "desk/answers.html", {"page": page, "titles": titles(list(page))})


@require_safe
@labelers
def answer(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment, _draft = _page_or_404(person(request), assignment_id)
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


def _had_or_404(labeler: User, assignment_id: int) -> Assignment:
    """404 for tasks of other labelers, so nobody learns which exist."""
    assignment = had(labeler, assignment_id)
    if assignment is None:
        raise Http404
    return assignment


def _page_or_404(labeler: User, assignment_id: int) -> tuple[Assignment, Draft | None]:
    rows = queries.had_with_its_page(labeler, assignment_id)
    if rows is None:
        raise Http404
    return rows


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
        return _to_next_task(request, assignment.campaign_id, now, field)
    except Http404:
        # The submit is stored, but the labeler may not work here any more.
        return redirect("desk:home")


def _to_next_task(request: HttpRequest, campaign_id: int, now: datetime, field: str = "") -> HttpResponseRedirect:
    """Claim the next task and redirect to it, or home with the reason."""
    try:
        claimed = leases.claim(campaign_id=campaign_id, labeler=person(request), now=now)
    except refusals.NotYours as outsider:
        raise Http404 from outsider
    except refusals.NotAcknowledged:
        return redirect("desk:guideline", campaign_id)
    except Refusal as refused:
        # In a paused campaign, a prefetched task is in no list but counts as held.
        leases.release_prefetched(campaign_id=campaign_id, labeler=person(request), now=now)
        _ask_for_more(campaign_id, refused)
        messages.info(request, str(refused))
        return redirect("desk:home")
    return redirect(reverse("desk:task", args=[claimed.id]) + field)


def _ask_for_more(campaign_id: int, refused: Refusal) -> None:
    if isinstance(refused, refusals.NothingLeft):
        campaign = Campaign.objects.get(id=campaign_id)
        workflow_of(campaign).ran_out(campaign=campaign)


def _changes(known: GuidelineVersion | None, version: GuidelineVersion | None) -> list[Piece]:
    if known is None or version is None or known.id == version.id:
        return []
    return word_diff(known.body, version.body)
