from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.samples import policies as registered
from annotate.samples import probes
from annotate.samples.forms import PolicyForm
from annotate.samples.models import CurrentPolicy, Origin, Policy, ServerProbe
from annotate.samples.states import ProbeState
from annotate.studio import queries
from annotate.work.workflow import Context
from annotate.workflows.actions import campaigns_with


@require_safe
@managers
def policies(request: HttpRequest) -> HttpResponse:
    return render(request, "studio/policies.html", {"page": page_of(request, queries.policies())})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def policy_new(request: HttpRequest) -> HttpResponse:
    form = PolicyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            policy = registered.create(spec=form.spec(), now=timezone.now())
            messages.success(request, _("The policy is registered."))
            return redirect("studio:policy", policy.id)
    return render(request, "studio/policy_new.html", {"form": form})


@require_safe
@managers
def policy(request: HttpRequest, policy_id: int) -> HttpResponse:
    policy = get_object_or_404(Policy.objects.select_related("probe"), id=policy_id)
    context = {
        **_probe(getattr(policy, "probe", None)),
        "policy": policy,
        "pointer": CurrentPolicy.objects.filter(stage=policy.stage).select_related("policy", "moved_by").first(),
        "sampled_here": policy.origin != Origin.IMPORTED,
        "completions": policy.completions.count(),
        "campaigns": campaigns_with(policy),
        "runs": page_of(request, queries.runs().filter(policy=policy), size=10),
    }
    return render(request, "studio/policy.html", context)


@managers
@post_or_redirect("studio:policy", "policy_id")
def make_current(request: HttpRequest, policy_id: int) -> HttpResponse:
    policy = get_object_or_404(Policy, id=policy_id)
    registered.move_current(stage=policy.stage, policy=policy, by=person(request), now=timezone.now())
    message = _("%(policy)s is now the current %(stage)s policy. New sampling runs start from it.")
    messages.success(request, message % {"policy": policy, "stage": policy.get_stage_display()})
    return redirect("studio:policies")


@managers
@post_or_redirect("studio:policy", "policy_id")
def probe(request: HttpRequest, policy_id: int) -> HttpResponse:
    """Request a new probe of the policy's server."""
    policy = get_object_or_404(Policy, id=policy_id)
    probes.ask(policy=policy, now=timezone.now())
    return redirect("studio:policy", policy.id)


@require_safe
@managers
def probe_progress(request: HttpRequest, policy_id: int) -> HttpResponse:
    """The section that refreshes itself. At the end of the probe, the page loads again."""
    probe = get_object_or_404(ServerProbe.objects.select_related("policy"), policy=policy_id)
    response = render(request, "studio/_policy_probe.html", {"policy": probe.policy, **_probe(probe)})
    if probe.state in (ProbeState.DONE, ProbeState.FAILED):
        response["HX-Refresh"] = "true"
    return response


def _probe(probe: ServerProbe | None) -> Context:
    return {
        "probe": probe,
        "probing": probe is not None and probe.state in (ProbeState.WAITING, ProbeState.RUNNING),
        "stages": probes.STAGES,
    }
