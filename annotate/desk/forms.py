import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django import forms
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.datastructures import MultiValueDict
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from annotate.lib.addresses import id_in
from annotate.lib.fields import NoteField
from annotate.lib.text import storable
from annotate.work.models import SkipReason
from annotate.work.workflow import Typed

# Fields that a draft does not store.
PAGE_FIELDS = frozenset({"csrfmiddlewaretoken", "submit_key", "then", "active"})


NO_REASON = _("Choose a reason. It helps to improve the task or the guideline.")


class SkipForm(forms.Form):
    prefix = "skip"  # the task's form is on the same page

    reason = forms.ChoiceField(
        label=_("Why do you skip it?"),
        choices=SkipReason.choices,
        widget=forms.RadioSelect,
        error_messages={"required": NO_REASON},
    )
    note = NoteField(label=_("Note"), longest=2000, rows=3, help_text=_("For the people who run this campaign."))


def fields(form: forms.Form) -> SafeString:
    return render_to_string("parts/form.html", {"form": form})


@cache
def empty_skip_fields(_language: str) -> SafeString:
    """Cached: rendering takes a third of the time of a task page."""
    return fields(SkipForm())


class BadDraft(ValueError):
    """The request body is not a JSON object of form fields."""


def submit_key(data: QueryDict) -> UUID | None:
    """The page's submit key. None: missing or invalid."""
    try:
        return UUID(data.get("submit_key", ""))
    except ValueError:
        return None


@dataclass(frozen=True)
class Active:
    """The active seconds since a visit of the page began, in total."""

    visit: UUID
    total: float


def active(report: object) -> Active | None:
    """Parse `id:seconds` as static/js/active.js writes it. None: invalid."""
    visit, _colon, total = str(report).partition(":")
    try:
        return Active(UUID(visit), float(total))
    except ValueError:
        return None


def number(data: QueryDict, name: str) -> int:
    """The id in a field. 0, which no row has: missing or invalid."""
    return id_in(data.get(name, "")) or 0


def heartbeat(sent: bytes) -> dict[str, object]:
    """Empty: invalid."""
    try:
        values = json.loads(sent or b"{}")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def draft_from_json(sent: bytes) -> tuple[dict[str, list[str]], str | None]:
    """Parse {"body": {field: text or [texts]}, "seen": version of the draft on the page}. Raises BadDraft."""
    try:
        whole = json.loads(sent)
        body, seen = whole["body"], whole.get("seen")
        fields = {str(name): value if isinstance(value, list) else [value] for name, value in body.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise BadDraft from wrong
    if not all(isinstance(text, str) for values in fields.values() for text in values):
        raise BadDraft
    if not isinstance(seen, str | None):
        raise BadDraft
    return _kept(fields), seen


def draft_from_form(data: QueryDict) -> dict[str, list[str]]:
    return _kept(dict(data.lists()))


def _kept(fields: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {
        _storable(name): [_storable(text) for text in values]
        for name, values in fields.items()
        if name not in PAGE_FIELDS
    }


def _storable(text: str) -> str:
    """Replace what the database cannot store. Some keyboards send half an emoji."""
    if storable(text):
        return text
    return text.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def typed(body: Mapping[str, list[str] | str] | None) -> Typed | None:
    if body is None:
        return None
    return MultiValueDict({name: values if isinstance(values, list) else [values] for name, values in body.items()})


def as_text(body: Mapping[str, Sequence[str]]) -> str:
    """One text to copy. Each of several texts has the name of its field."""
    lines = [(name, text) for name, values in body.items() for text in values if text.strip()]
    if len(lines) == 1:
        return lines[0][1]
    return "\n\n".join(f"{name}: {text}" for name, text in lines)
