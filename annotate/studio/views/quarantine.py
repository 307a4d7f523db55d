"""Prompts in quarantine and the manager's decision about each."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from annotate.accounts.access import managers, person
from annotate.lib.methods import post_or_redirect, refusals_lead_to
from annotate.lib.paging import back_to, page_of
from annotate.pools import queries
from annotate.pools.models import Pool, Prompt, QuarantineReason
from annotate.pools.quarantine import in_the_way
from annotate.studio.forms import QuarantineForm
from annotate.work import quarantine as actions
from annotate.workflows.actions import release

NO_DECISION = gettext_lazy("Choose what happens to the prompt.")
RELEASED = gettext_lazy("Prompt %(id)d is released.")


@require_safe
@managers
def quarantine(request: HttpRequest, pool_id: int) -> HttpResponse:
    pool = get_object_or_404(Pool, id=pool_id)
    page = page_of(request, queries.quarantined(pool), size=20)
    against = in_the_way(list(page))
    rows = [(prompt, against[prompt.id], _movable(prompt)) for prompt in page]
    return render(request, "studio/quarantine.html", {"pool": pool, "page": page, "rows": rows})


def _movable(prompt: Prompt) -> bool:
    """Can the prompt be released? The side of a customer or writer never changes."""
    return prompt.quarantine_reason != QuarantineReason.OTHER_SIDE


def _list_page(request: HttpRequest, prompt_id: int) -> str:
    """The page of the list that sent the decision."""
    prompt = get_object_or_404(Prompt.objects.only("pool"), id=prompt_id)
    return back_to(reverse("studio:quarantine", args=[prompt.pool_id]), request)


@managers
@post_or_redirect("studio:prompt", "prompt_id")
@refusals_lead_to(_list_page)
def decide(request: HttpRequest, prompt_id: int) -> HttpResponse:
    prompt = get_object_or_404(Prompt.objects.only("id", "pool"), id=prompt_id)
    form = QuarantineForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(NO_DECISION))
    else:
        messages.success(request, _decided(prompt, form.cleaned_data["decision"], request))
    return redirect(_list_page(request, prompt_id))


def _decided(prompt: Prompt, decision: str, request: HttpRequest) -> str:
    by, now = person(request), timezone.now()
    if decision == "keep":
        actions.keep(prompt_id=prompt.id, by=by, now=now)
        return _("Prompt %(id)d stays in quarantine.") % {"id": prompt.id}
    instead = decision == "instead"
    release(prompt=prompt, by=by, now=now, instead=instead)
    if instead:
        return _("Prompt %(id)d is released. The equal prompts are in quarantine instead.") % {"id": prompt.id}
    return RELEASED % {"id": prompt.id}
