from typing import cast

from django.contrib import messages
from django.core.files.storage import storages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.pools.models import Prompt, Source, Split
from annotate.work.quarantine import quarantine as put_into_quarantine
from exports import actions, manifest, queries
from exports.agreement.bootstrap import PROMPTS_NEEDED
from exports.agreement.pairs import TieRule
from exports.agreement.published import PUBLISHED
from exports.agreement.queries import Covered, measurable_campaigns, report
from exports.forms import AgreementForm, ExportForm
from exports.manifest import PROMPT_COUNTS, Manifest
from exports.models import Export, ExportState
from exports.table import CONTENTS, STATISTICS

CONTENT_TYPES = {"jsonl": "application/jsonl", "json": "application/json", "md": "text/markdown; charset=utf-8"}


@require_safe
@managers
def exports(request: HttpRequest) -> HttpResponse:
    return render(request, "exports/exports.html", {"page": page_of(request, queries.exports())})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def new(request: HttpRequest) -> HttpResponse:
    asked = request.POST if request.method == "POST" else None
    form = ExportForm(asked, initial={"campaigns": request.GET.getlist("campaign")})
    if form.is_valid():
        export = actions.request_export(
            campaigns=form.cleaned_data["campaigns"], by=person(request), now=timezone.now()
        )
        return redirect("exports:export", export.id)
    context = {"form": form, "any": queries.exportable_campaigns().exists(), "contents": CONTENTS}
    return render(request, "exports/new.html", context)


@require_safe
@managers
def export(request: HttpRequest, export_id: int) -> HttpResponse:
    return render(request, "exports/export.html", _described(export_id))


@require_safe
@managers
def progress(request: HttpRequest, export_id: int) -> HttpResponse:
    """Reloads itself until the export is finished."""
    return render(request, "exports/_export.html", _described(export_id))


@managers
@post_or_redirect("exports:export", "export_id")
def quarantine(request: HttpRequest, export_id: int) -> HttpResponse:
    """One prompt of a leak, or all."""
    chosen, now = request.POST.get("prompt", ""), timezone.now()
    cases = [case for case in get_object_or_404(Export, id=export_id).cases if chosen in ("", str(case.prompt_id))]
    put = put_into_quarantine(cases=cases, by=person(request), now=now)
    if put:
        words = ngettext("%(number)d prompt is in quarantine.", "%(number)d prompts are in quarantine.", put)
        messages.success(request, words % {"number": put} + " " + _("Export the campaigns again."))
    else:
        messages.info(request, _("These prompts are in quarantine already. Export the campaigns again."))
    return redirect("exports:export", export_id)


@require_safe
@managers
def download(request: HttpRequest, export_id: int, name: str) -> FileResponse:
    return file_of(get_object_or_404(Export, id=export_id), name)


def file_of(row: Export, name: str) -> FileResponse:
    """One file of a finished export. Raises Http404 for any other."""
    if row.state != ExportState.DONE or name not in manifest.file_names(cast(Manifest, row.manifest)):
        raise Http404
    try:
        file = storages["exports"].open(f"{row.folder}/{name}")
    except FileNotFoundError:
        raise Http404 from None
    content_type = CONTENT_TYPES[name.rpartition(".")[2]]
    return FileResponse(file, as_attachment=True, filename=name, content_type=content_type)


@require_safe
@managers
def agreement(request: HttpRequest) -> HttpResponse:
    newest = measurable_campaigns().first()
    usual = {"ties": TieRule.EXCLUDE.value, "answers": Covered.EXPORTED.value}
    asked = {"campaign": newest.id if newest else None} | usual | request.GET.dict()
    form = AgreementForm(asked)
    context: dict[str, object] = {"form": form, "any": newest, "published": PUBLISHED, "prompts_needed": PROMPTS_NEEDED}
    if newest is not None and form.is_valid():
        chosen = form.cleaned_data
        rule, covered = TieRule(chosen["ties"]), Covered(chosen["answers"])
        context["report"] = report(campaign=chosen["campaign"], rule=rule, covered=covered)
    return render(request, "exports/agreement.html", context)


def _described(export_id: int) -> dict[str, object]:
    row = get_object_or_404(queries.exports(), id=export_id)
    counts = row.manifest["left_out"] if row.manifest else {}
    return {
        "export": row,
        "leaks": _leaks(row),
        "unfinished": row.state in (ExportState.WAITING, ExportState.RUNNING),
        "left_out": [(label, counts[name]) for name, label in queries.LEFT_OUT.items() if counts.get(name)],
        "tables": _tables(row.manifest) if row.manifest else [],
        "prompt_columns": [
            (name, f"{file.name.upper()} {Source(source).label}") for name, file, source in PROMPT_COUNTS
        ],
        "example_columns": [(number.name, number.label) for number in STATISTICS],
    }


def _leaks(row: Export) -> list[tuple[str, Prompt, Prompt]]:
    """(reason, prompt to put into quarantine, its twin) for each leak."""
    cases = row.cases
    ids = {prompt_id for case in cases for prompt_id in (case.prompt_id, case.twin_id)}
    prompts = Prompt.objects.select_related("pool", "group").defer("search", "messages", "shots").in_bulk(ids)
    return [
        (str(case.reason.label), prompts[case.prompt_id], prompts[case.twin_id])
        for case in cases
        if case.prompt_id in prompts and case.twin_id in prompts
    ]


def _tables(described: Manifest) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """(name, numbers of prompts, of examples) for each side of the split."""
    return [(str(split.label), described["prompts"][split], described["examples"][split]) for split in Split]
