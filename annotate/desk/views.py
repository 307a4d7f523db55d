"""A labeler's pages: take a task, work on it, hand it in. Each view loads, calls one action and answers."""

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
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.accounts.access import labelers, person
from annotate.accounts.models import User
from annotate.desk import forms, queries
from annotate.edits import workflow as edits
from annotate.guidelines.actions import acknowledge
from annotate.guidelines.models import GuidelineVersion
from annotate.guidelines.queries import acknowledged_version, current_version
from annotate.lib.message_cookie import say_once
from annotate.lib.methods import post_or_redirect, refusals_as_json
from annotate.lib.paging import page_of
from annotate.lib.refusals import Refusal
from annotate.lib.text import Piece, word_diff
from annotate.lib.wake import wake
from annotate.samples.actions import FILL
from annotate.work import drafts, leases, lost, refusals, submitting, times
from annotate.work import queries as work
from annotate.work.eligibility import is_eligible
from annotate.work.models import Assignment, Campaign, Draft, Hand, Workflow
from annotate.work.states import CampaignState, State
from annotate.work.workflow import BadAnswer, Bench, Context
from annotate.workflows import WORKFLOWS

# Markdown of a novel would keep a web worker busy for the sake of a look.
PREVIEWED = 200_000


def _task_page(request: HttpRequest, assignment_id: int) -> str:
    """Where a form of this task is; for outsiders there is nothing."""
    return reverse("desk:task", args=[_had_or_404(person(request), assignment_id).id])


def _held_page(request: HttpRequest, campaign_id: int) -> str:
    """The task that the labeler works on in this campaign, or the list of campaigns."""
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
        # A campaign may have been paused or closed since: what is held can be finished.
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
    return _go_on(request, campaign_id, timezone.now())


@require_safe
@labelers
def task(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The page of a task. One that is ready ahead may be kept by the browser until its lease ends, to be shown at once
    when its turn comes; every other is made anew whenever it is asked for."""
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
    standing = queries.standing(labeler, assignment)
    if standing and standing.state != State.LEASED:
        return redirect("desk:answer", standing.id)
    if standing and standing.id != assignment.id:
        return redirect("desk:task", standing.id)
    try:
        # Looking at the page is a sign of life, also where no JavaScript sends heartbeats.
        leased_until = leases.renew(assignment_id=assignment.id, labeler=labeler, now=now)
    except refusals.LeaseLost:
        leased_until = None
    if not leased_until and not lost.takes_late(assignment.campaign, assignment.task_id, labeler):
        refused = lost.lease_lost(assignment.campaign, assignment, labeler)
        return _lost(request, assignment, draft.body if draft else {}, refused, key=None, status=200)
    part = _bench(assignment).show(assignment, labeler, forms.typed(draft.body if draft else None), now)
    return _page(request, assignment, part | {"seen": draft.version if draft else ""}, leased_until)


@require_POST
@labelers
def ahead(request: HttpRequest, campaign_id: int) -> JsonResponse:
    """The page's script asks for the task after this one, and loads its page before it is wanted."""
    labeler, now = person(request), timezone.now()
    try:
        claimed = leases.prefetch(campaign_id=campaign_id, labeler=labeler, now=now)
    except refusals.NotYours as outsider:
        raise Http404 from outsider
    except Refusal as refused:
        _ask_for_more(campaign_id, refused)
        # That there is no next task is an answer, and no fault for the browser's console.
        return JsonResponse({"page": None, "words": str(refused)})
    return JsonResponse({"page": reverse("desk:task", args=[claimed.id]), "leased_until": claimed.leased_until})


@labelers
@post_or_redirect(_task_page)
def submit(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The whole form, or its fields from the page's script, which asks for JSON: a proxy's error page is no JSON."""
    labeler, now, scripted = person(request), timezone.now(), _scripted(request)
    assignment = _had_or_404(labeler, assignment_id)
    key = forms.submit_key(request.POST)
    if key is None:
        words = _("This form is incomplete. Load the task again.")
        return JsonResponse({"words": words}, status=400) if scripted else HttpResponseBadRequest(words)
    _count_time(assignment, labeler, request.POST.get("active", ""), now)
    try:
        submission = _bench(assignment).submit(assignment.id, labeler, request.POST, key, now)
    except BadAnswer as bad:
        # The browser counts on a submit that arrived: whoever leaves the page that comes back finds this text again.
        _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
        if scripted:
            return JsonResponse({"words": forms.faults(bad.context["form"])}, status=422)
        until = assignment.leased_until if assignment.labeler_id == labeler.id else None
        return _page(request, assignment, bad.context | {"submit_key": key}, until, status=422)
    except Refusal as refused:
        body = forms.draft_from_form(request.POST)
        _keep(assignment, labeler, body, now)
        if scripted:
            return JsonResponse({"words": str(refused)}, status=409)
        return _lost(request, assignment, body, refused, key=key, status=409)
    if scripted:
        # The next page may be in the browser already: its script says what a message would.
        taken_back = reverse("desk:undo", args=[submission.assignment.id]) if assignment.campaign.undo_minutes else None
        return JsonResponse({"next": _after_submit(request, assignment, now).url, "undo": taken_back})
    say_once(request, _("Submitted."))
    # The next text gets the focus, also where no script gives it: people go on typing.
    field = "" if assignment.campaign.workflow == Workflow.RANKINGS else "#id_text"
    return _after_submit(request, assignment, now, field)


@require_POST
@labelers
@refusals_as_json
def draft(request: HttpRequest, assignment_id: int) -> JsonResponse:
    """The page's autosave. Where there is no JavaScript, `release` and a refused submit keep the text."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    try:
        body, seen = forms.draft_from_json(request.body)
    except forms.BadDraft:
        return JsonResponse({"words": _("This is no draft.")}, status=400)
    saved = drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now, seen=seen)
    return JsonResponse({"saved_at": saved.saved_at, "version": saved.version, "unseen": saved.unseen})


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def undo(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Take the last submit back. What was claimed after it stays ready ahead."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    try:
        undone = _bench(assignment).undo(assignment.id, labeler, now)
    except Refusal:
        current = _had_or_404(labeler, assignment_id)
        if current.labeler_id == labeler.id and current.state == State.LEASED:
            # The first click of two, or another tab, has taken it back.
            return redirect("desk:task", current.id)
        raise
    messages.info(request, _("Your answer is taken back: change it, and hand it in again."))
    return redirect("desk:task", undone.id)


@require_POST
@labelers
@refusals_as_json
def renew(request: HttpRequest, assignment_id: int) -> JsonResponse:
    """The page's heartbeat, with the active seconds it has seen so far."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    _count_time(assignment, labeler, forms.told(request.body).get("active", ""), now)
    until = leases.renew(assignment_id=assignment.id, labeler=labeler, now=now)
    return JsonResponse({"leased_until": until})


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def skip(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Pass on the task. Without JavaScript the button sends the whole form, and a page of its own asks the reason."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    asked = "skip-sent" in request.POST
    form = forms.SkipForm(request.POST if asked else None)
    if not asked:
        _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    if not form.is_valid():
        context = {"assignment": assignment, "skip_fields": partial(forms.fields, form)}
        return render(request, "desk/skip.html", context, status=422 if asked else 200)
    leases.skip(assignment_id=assignment.id, labeler=labeler, now=now, **form.cleaned_data)
    messages.info(request, _("You skipped the task. It does not come back to you."))
    return _go_on(request, assignment.campaign_id, now)


@labelers
@post_or_redirect(_task_page, refused="desk:home")
def release(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """Put the task back. The button sends the whole form, so that its text is kept also without the autosave."""
    labeler, now = person(request), timezone.now()
    assignment = _had_or_404(labeler, assignment_id)
    _keep(assignment, labeler, forms.draft_from_form(request.POST), now)
    leases.release(assignment_id=assignment.id, labeler=labeler, now=now)
    messages.info(request, _("The task is back in the queue. What you wrote is kept, in case you take it again."))
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


@require_POST
@labelers
def compare(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """What the text typed so far changes in the prompt it rewrites."""
    assignment = _had_or_404(person(request), assignment_id)
    if assignment.campaign.workflow != Workflow.EDITS:
        raise Http404
    return render(request, "edits/_diff.html", edits.changes(assignment.task, request.POST))


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
        return _go_on(request, campaign.id, now)
    version, known = current_version(campaign.guideline), acknowledged_version(labeler, campaign.guideline)
    context = {"campaign": campaign, "version": version, "known": known, "pieces": _changes(known, version)}
    return render(request, "desk/guideline.html", context)


@require_safe
@labelers
def answers(request: HttpRequest) -> HttpResponse:
    page = page_of(request, queries.answers(person(request)))
    return render(request, "desk/answers.html", {"page": page})


@require_safe
@labelers
def answer(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """The labeler's own answer, to read, with the reviewer's words."""
    assignment, _draft = _page_or_404(person(request), assignment_id)
    if assignment.labeler_id != person(request).id or assignment.submitted_at is None:
        raise Http404
    bench = _bench(assignment)
    context = {
        "assignment": assignment,
        "answer_part": bench.answer_part,
        "can_undo": submitting.can_undo(assignment, person(request), timezone.now()),
        "can_resume": assignment.state == State.SENT_BACK and assignment.campaign.state != CampaignState.CLOSED,
    }
    return render(request, "desk/answer.html", bench.answer(assignment) | context)


def _had_or_404(labeler: User, assignment_id: int) -> Assignment:
    """Somebody else's task looks as one that does not exist."""
    assignment = queries.had(labeler, assignment_id)
    if assignment is None:
        raise Http404
    return assignment


def _page_or_404(labeler: User, assignment_id: int) -> tuple[Assignment, Draft | None]:
    found = queries.had_with_its_page(labeler, assignment_id)
    if found is None:
        raise Http404
    return found


def _bench(assignment: Assignment) -> Bench:
    return WORKFLOWS[Workflow(assignment.campaign.workflow)]


def _page(
    request: HttpRequest, assignment: Assignment, part: Context, leased_until: datetime | None, *, status: int = 200
) -> HttpResponse:
    """The task's page. Its submit key is made here: the same page sent twice is one submit."""
    # A late page is opened under a slot that may be somebody else's by now, with what a reviewer wrote to them.
    sent_back = bool(assignment.rounds) and assignment.labeler_id == person(request).id
    context = {
        "assignment": assignment,
        "version": assignment.guideline_version or acknowledged_version(person(request), assignment.campaign.guideline),
        "task_part": _bench(assignment).task_part,
        "submit_key": uuid4(),
        "skip_fields": partial(forms.empty_skip_fields, get_language() or ""),
        "sent_back": sent_back,
        "leased_until": leased_until,
        "late": leased_until is None,
        # Three heartbeats a lease, so that one may get lost, but no more than one a minute.
        "renew_seconds": min(60, assignment.campaign.lease_minutes * 20),
    }
    return render(request, "desk/task.html", context | part, status=status)


def _lost(
    request: HttpRequest, assignment: Assignment, body: Context, refused: Exception, *, key: UUID | None, status: int
) -> HttpResponse:
    """The task is not theirs to submit any more: their text, to be copied."""
    context = {"assignment": assignment, "text": forms.as_text(body), "words": str(refused), "submit_key": key}
    context["handed_in"] = isinstance(refused, refusals.AlreadySubmitted)
    context["skipped"] = isinstance(refused, refusals.Skipped)
    return render(request, "desk/lost.html", context, status=status)


def _count_time(assignment: Assignment, labeler: User, told: object, now: datetime) -> None:
    if active := forms.active(told):
        times.count(task_id=assignment.task_id, labeler=labeler, visit=active.sitting, total=active.total, now=now)


def _keep(assignment: Assignment, labeler: User, body: Context, now: datetime) -> None:
    try:
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now)
    except Refusal:
        # It was handed in meanwhile, or is too long to be kept: the answer to the request says more.
        pass


def _scripted(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _after_submit(request: HttpRequest, assignment: Assignment, now: datetime, field: str = "") -> HttpResponseRedirect:
    if request.POST.get("then") == "stop":
        leases.release_prefetched(campaign_id=assignment.campaign_id, labeler=person(request), now=now)
        return redirect("desk:home")
    try:
        return _go_on(request, assignment.campaign_id, now, field)
    except Http404:
        # The campaign is not open to them any more. What they handed in is handed in all the same.
        return redirect("desk:home")


def _go_on(request: HttpRequest, campaign_id: int, now: datetime, field: str = "") -> HttpResponseRedirect:
    """Redirect to the labeler's next task of the campaign, to this `#field` of it; where there is none, home with the
    reason."""
    try:
        claimed = leases.claim(campaign_id=campaign_id, labeler=person(request), now=now)
    except refusals.NotYours as outsider:
        raise Http404 from outsider
    except refusals.NotAcknowledged:
        return redirect("desk:guideline", campaign_id)
    except Refusal as refused:
        # What lies ready in a campaign that was paused is in no list of theirs, and would count among what they hold.
        leases.release_prefetched(campaign_id=campaign_id, labeler=person(request), now=now)
        _ask_for_more(campaign_id, refused)
        messages.info(request, str(refused))
        return redirect("desk:home")
    return redirect(reverse("desk:task", args=[claimed.id]) + field)


def _ask_for_more(campaign_id: int, refused: Refusal) -> None:
    """Where slates are sampled ahead, the next beat is too far off for somebody who has nothing left."""
    if isinstance(refused, refusals.NothingLeft):
        campaign = Campaign.objects.get(id=campaign_id)
        if campaign.workflow == Workflow.RANKINGS:
            wake(FILL, campaign.pool_id)


def _changes(known: GuidelineVersion | None, version: GuidelineVersion | None) -> list[Piece]:
    """What a new version changes in the one the labeler acknowledged."""
    if known is None or version is None or known.id == version.id:
        return []
    return word_diff(known.body, version.body)
