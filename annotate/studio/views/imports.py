"""Imports: upload a file, follow the progress, read the report."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.accounts.bodies import takes_files
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.pools import actions, queries
from annotate.pools.forms import ImportForm
from annotate.pools.models import ImportJob, ImportState, Pool
from annotate.work.workflow import Context

RUNNING = (ImportState.WAITING, ImportState.RUNNING)


@takes_files
@require_http_methods(["GET", "HEAD", "POST"])
@managers
def import_new(request: HttpRequest, pool_id: int) -> HttpResponse:
    pool = get_object_or_404(Pool, id=pool_id)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form, "file"):
            job = actions.start_import(
                pool=pool,
                kind=form.cleaned_data["content"],
                file_name=form.cleaned_data["file"].name,
                data=form.file_of(),
                defaults=form.defaults(),
                by=person(request),
                now=timezone.now(),
            )
            return redirect("studio:import", job.id)
    return render(request, "studio/import_new.html", {"form": form, "pool": pool})


@require_safe
@managers
def imported(request: HttpRequest, job_id: int) -> HttpResponse:
    """The progress and the report: refused lines by default, accepted ones with `?show=taken`."""
    job = _job(job_id)
    refused = request.GET.get("show", "refused" if job.refused else "taken") == "refused"
    lines = queries.import_lines(job, refused_only=refused)
    page = page_of(request, lines if refused else lines.filter(refusal=""), size=50)
    return render(request, "studio/import.html", _progress(job) | {"page": page, "refused": refused})


@require_safe
@managers
def import_progress(request: HttpRequest, job_id: int) -> HttpResponse:
    """The section that refreshes itself. At the end of the import, the page loads again with its report."""
    job = _job(job_id)
    response = render(request, "studio/_import_progress.html", _progress(job))
    if job.state not in RUNNING:
        response["HX-Refresh"] = "true"
    return response


@managers
@post_or_redirect("studio:import", "job_id")
def import_decide(request: HttpRequest, job_id: int) -> HttpResponse:
    job, decision = _job(job_id), request.POST.get("decision")
    if decision == "drop":
        actions.drop_fields(job=job)
    elif decision == "cancel":
        actions.cancel_import(job=job, now=timezone.now())
    else:
        messages.error(request, _("Choose whether to import the file without these fields, or not at all."))
    return redirect("studio:import", job.id)


def _job(job_id: int) -> ImportJob:
    return get_object_or_404(ImportJob.objects.select_related("pool", "created_by"), id=job_id)


def _progress(job: ImportJob) -> Context:
    return {"job": job, "running": job.state in RUNNING}
