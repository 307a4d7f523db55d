from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.pools import actions
from annotate.pools import queries as prompts
from annotate.pools.forms import PoolForm, PriorityForm, PromptSearchForm
from annotate.pools.models import Pool, Prompt
from annotate.samples.queries import completions_of
from annotate.studio import queries
from annotate.work.filling import prioritise
from annotate.work.workflow import Context


@require_safe
@managers
def pools(request: HttpRequest) -> HttpResponse:
    page = page_of(request, Pool.objects.order_by("name"))
    counts = queries.prompts_by_pool(page)
    rows = [(pool, counts[pool.id]) for pool in page]
    return render(request, "studio/pools.html", {"page": page, "rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def pool_new(request: HttpRequest) -> HttpResponse:
    form = PoolForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form, "name"):
            pool = actions.create_pool(**form.cleaned_data, now=timezone.now())
            messages.success(request, _("The pool is created. Now import prompts into it."))
            return redirect("studio:import-new", pool.id)
    return render(request, "studio/pool_new.html", {"form": form})


@require_safe
@managers
def pool(request: HttpRequest, pool_id: int) -> HttpResponse:
    pool = get_object_or_404(Pool, id=pool_id)
    form = PromptSearchForm(request.GET)
    context = {
        "pool": pool,
        "form": form,
        "page": page_of(request, prompts.find_prompts(pool, form.filters())),
        "counts": prompts.count_prompts(pool),
        "quarantine": prompts.count_quarantine(pool),
        "imports": prompts.imports(pool)[:5],
        "campaigns": pool.campaigns.order_by("name"),
    }
    return render(request, "studio/pool.html", context)


@require_safe
@managers
def prompt(request: HttpRequest, prompt_id: int) -> HttpResponse:
    prompt = get_object_or_404(_prompts(), id=prompt_id)
    return render(request, "studio/prompt.html", _prompt(request, prompt))


@managers
@post_or_redirect("studio:prompt", "prompt_id")
def prompt_priority(request: HttpRequest, prompt_id: int) -> HttpResponse:
    prompt = get_object_or_404(_prompts(), id=prompt_id)
    form = PriorityForm(request.POST)
    if form.is_valid():
        prioritise(prompts=Prompt.objects.filter(id=prompt.id), priority=form.cleaned_data["priority"])
        messages.success(request, _("The priority was changed."))
        return redirect("studio:prompt", prompt.id)
    return render(request, "studio/prompt.html", _prompt(request, prompt) | {"priority_form": form})


def _prompts() -> QuerySet[Prompt]:
    related = ("pool", "group", "parent", "author", "quarantine_twin", "quarantine_decided_by")
    return Prompt.objects.select_related(*related).defer("search", "parent__search", "quarantine_twin__search")


def _prompt(request: HttpRequest, prompt: Prompt) -> Context:
    return {
        "prompt": prompt,
        "priority_form": PriorityForm(initial={"priority": prompt.priority}),
        "decisions": prompts.decisions(prompt),
        "edits": prompt.edits.select_related("author").defer("search").order_by("id"),
        "in_group": prompt.group.prompts.count(),
        "page": page_of(request, completions_of(prompt), size=10),
        "tasks": queries.tasks_of(prompt),
    }
