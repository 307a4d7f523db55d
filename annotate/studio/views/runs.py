from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.pools.models import Pool
from annotate.samples import queries as samples
from annotate.samples import runs as sampling
from annotate.samples.forms import SampleRunForm, StopStrings
from annotate.samples.models import SampleRun
from annotate.samples.states import RunState
from annotate.studio import queries
from annotate.work.workflow import Context
from annotate.workflows.actions import campaign_of, retry_failed

# Completions on a run's page.
SHOWN = 8


@require_safe
@managers
def runs(request: HttpRequest) -> HttpResponse:
    return render(request, "studio/runs.html", _runs(request))


@require_safe
@managers
def runs_progress(request: HttpRequest) -> HttpResponse:
    """The section of the list that refreshes itself."""
    return render(request, "studio/_runs.html", _runs(request))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def run_new(request: HttpRequest) -> HttpResponse:
    chosen = {name: request.GET[name] for name in ("pool", "policy") if request.GET.get(name, "").isdecimal()}
    form = SampleRunForm(request.POST or None, initial=chosen)
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            run = sampling.start(**form.cleaned_data, by=person(request), now=timezone.now())
            messages.success(request, _("The run has started. You can leave this page and come back."))
            return redirect("studio:run", run.id)
    context = {
        "form": form,
        "no_pool": not Pool.objects.exists(),
        "no_policy": not samples.policies_to_sample().exists(),
    }
    return render(request, "studio/run_new.html", context)


@require_safe
@managers
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    run = _run(run_id)
    latest = run.completions.select_related("prompt").defer("prompt__search").order_by("-prompt_id", "-k")
    context = {
        "campaign": campaign_of(run),
        "completions": latest[:SHOWN][::-1],
        "failures": samples.failures(run),
        "stops": StopStrings().prepare_value(run.stop).splitlines(),
    }
    return render(request, "studio/run.html", _progress(run) | context)


@require_safe
@managers
def run_progress(request: HttpRequest, run_id: int) -> HttpResponse:
    """The section that refreshes itself. At the end of the run, the page loads again."""
    run = _run(run_id)
    response = render(request, "studio/_run_progress.html", _progress(run))
    if run.state != RunState.RUNNING:
        response["HX-Refresh"] = "true"
    return response


@managers
@post_or_redirect("studio:run", "run_id")
def run_cancel(request: HttpRequest, run_id: int) -> HttpResponse:
    sampling.cancel(run=_run(run_id), now=timezone.now())
    messages.success(request, _("The run is cancelled. Its completions stay."))
    return redirect("studio:run", run_id)


@managers
@post_or_redirect("studio:run", "run_id")
def run_retry(request: HttpRequest, run_id: int) -> HttpResponse:
    count = retry_failed(run=_run(run_id))
    message = ngettext("%(count)d prompt is tried again.", "%(count)d prompts are tried again.", count)
    messages.success(request, message % {"count": count})
    return redirect("studio:run", run_id)


def _run(run_id: int) -> SampleRun:
    return get_object_or_404(queries.runs(), id=run_id)


def _runs(request: HttpRequest) -> Context:
    page = page_of(request, queries.runs())
    progress = samples.progress(page, now=timezone.now())
    return {
        "page": page,
        "rows": [(run, progress.get(run.id)) for run in page],
        "running": any(run.state == RunState.RUNNING for run in page),
    }


def _progress(run: SampleRun) -> Context:
    progress = samples.progress([run], now=timezone.now()).get(run.id)
    left = progress.seconds_left if progress else None
    return {
        "run": run,
        "progress": progress,
        "running": run.state == RunState.RUNNING,
        "left": _duration(left) if left is not None else None,
        "waits": _waits(run) if progress and progress.waiting and not progress.leased else None,
    }


def _waits(run: SampleRun) -> str:
    """What the run waits for."""
    if run.policy.needs_gpu:
        return _("a worker with a GPU")
    if other := samples.being_sampled(run):
        return _("run %(id)s, which the workers are sampling") % {"id": other.id}
    return _("a free worker; the run starts by itself")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return ngettext("%(n)d second", "%(n)d seconds", round(seconds)) % {"n": round(seconds)}
    if seconds < 7200:
        return _("%(n)d minutes") % {"n": round(seconds / 60)}
    return _("%(n)d hours") % {"n": round(seconds / 3600)}
