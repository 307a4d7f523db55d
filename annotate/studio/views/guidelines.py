from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.accounts.access import managers, person
from annotate.guidelines import actions, queries
from annotate.guidelines.forms import DraftForm, GuidelineForm
from annotate.guidelines.models import Guideline, GuidelineVersion
from annotate.lib.diff import word_diff
from annotate.lib.methods import refusals_lead_to
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.work.workflow import Context


@require_safe
@managers
def guidelines(request: HttpRequest) -> HttpResponse:
    return render(request, "studio/guidelines.html", {"page": page_of(request, queries.guidelines())})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def guideline_new(request: HttpRequest) -> HttpResponse:
    form = GuidelineForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form, "name"):
            guideline = actions.create_guideline(**form.cleaned_data, by=person(request), now=timezone.now())
            messages.success(request, _("The draft is saved. Labelers see it when you publish it."))
            return redirect("studio:guideline", guideline.id)
    return render(request, "studio/guideline_new.html", {"form": form})


@require_safe
@managers
def guideline(request: HttpRequest, guideline_id: int) -> HttpResponse:
    guideline = get_object_or_404(Guideline, id=guideline_id)
    context = {
        "guideline": guideline,
        "current": queries.current_version(guideline),
        "draft": queries.draft_version(guideline),
        "versions": queries.versions(guideline),
        "campaigns": guideline.campaigns.order_by("name"),
    }
    return render(request, "studio/guideline.html", context)


@require_safe
@managers
def version(request: HttpRequest, guideline_id: int, number: int) -> HttpResponse:
    version = _version(guideline_id, number)
    people = page_of(request, queries.acknowledgements(version), size=50)
    return render(request, "studio/guideline_version.html", {"version": version, "page": people})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def draft(request: HttpRequest, guideline_id: int) -> HttpResponse:
    """Edit the draft. The first save after a publication creates the next version."""
    guideline = get_object_or_404(Guideline, id=guideline_id)
    draft, current = queries.draft_version(guideline), queries.current_version(guideline)
    latest = draft or current
    initial = {"body": latest.body if latest else "", "summary": draft.summary if draft else ""}
    form = DraftForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        actions.save_draft(guideline=guideline, **form.cleaned_data, by=person(request), now=timezone.now())
        messages.success(request, _("The draft is saved. Labelers see it when you publish it."))
        return redirect("studio:guideline", guideline.id)
    context = {"guideline": guideline, "form": form, "begun": draft, "current": current}
    return render(request, "studio/guideline_draft.html", context)


@require_POST
@managers
def preview(request: HttpRequest) -> HttpResponse:
    return render(request, "studio/_guideline_text.html", {"body": request.POST.get("body", "")})


@require_safe
@managers
def compare(request: HttpRequest, guideline_id: int) -> HttpResponse:
    """Compare two versions: those of `?from=` and `?to=`, by default the latest two."""
    guideline = get_object_or_404(Guideline, id=guideline_id)
    versions = list(queries.versions(guideline))
    new = _chosen(request, "to", versions) or versions[0]
    earlier = [version for version in versions if version.number < new.number]
    old = _chosen(request, "from", versions) or (earlier[0] if earlier else new)
    context: Context = {"guideline": guideline, "versions": versions, "old": old, "new": new}
    return render(request, "studio/guideline_compare.html", context | {"pieces": word_diff(old.body, new.body)})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
@refusals_lead_to("studio:guideline", "guideline_id")
def publish(request: HttpRequest, guideline_id: int) -> HttpResponse:
    """Explain the publication, and publish after confirmation."""
    guideline = get_object_or_404(Guideline, id=guideline_id)
    if request.method == "POST":
        published = actions.publish(guideline=guideline, now=timezone.now())
        messages.success(request, _("Version %(number)d is published.") % {"number": published.number})
        return redirect("studio:guideline", guideline.id)
    draft, current = queries.draft_version(guideline), queries.current_version(guideline)
    if draft is None:
        raise actions.NoDraft
    context = {
        "guideline": guideline,
        "draft": draft,
        "current": current,
        "pieces": word_diff(current.body, draft.body) if current else [],
        "campaigns": guideline.campaigns.exclude(state="closed").order_by("name"),
    }
    return render(request, "studio/guideline_publish.html", context)


def _version(guideline_id: int, number: int) -> GuidelineVersion:
    versions = GuidelineVersion.objects.select_related("guideline", "created_by")
    return get_object_or_404(versions, guideline=guideline_id, number=number)


def _chosen(request: HttpRequest, name: str, versions: list[GuidelineVersion]) -> GuidelineVersion | None:
    return next((version for version in versions if str(version.number) == request.GET.get(name)), None)
