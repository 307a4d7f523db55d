"""What the desk's pages send, turned into values."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any
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

# Fields of the page, not of the answer: they are not kept in a draft.
PAGE_FIELDS = frozenset({"csrfmiddlewaretoken", "submit_key", "then", "active"})


class SkipForm(forms.Form):
    """Its names are its own: it stands on a page with the form of the task."""

    prefix = "skip"

    reason = forms.ChoiceField(
        label=_("Why do you skip it?"),
        choices=SkipReason.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose a reason: it helps to repair the task or the guideline.")},
    )
    note = NoteField(label=_("Note"), longest=2000, rows=3, help_text=_("For the people who run this campaign."))


def fields(form: forms.Form) -> SafeString:
    return render_to_string("parts/form.html", {"form": form})


@cache
def empty_skip_fields(_language: str) -> SafeString:
    """The fields as every task's page has them. To render them anew would be a third of such a page's cost."""
    return fields(SkipForm())


class BadDraft(ValueError):
    """The draft is not an object of form fields."""


def submit_key(data: QueryDict) -> UUID | None:
    """The key the page was made with; None if it is missing or none."""
    try:
        return UUID(data.get("submit_key", ""))
    except ValueError:
        return None


@dataclass(frozen=True)
class Active:
    """What a page tells of its labeler's time: its own id, and how many active seconds it has seen in all."""

    sitting: UUID
    total: float


def active(told: object) -> Active | None:
    """Out of `id:seconds`, as static/js/active.js writes it; None where it is anything else."""
    sitting, _colon, total = str(told).partition(":")
    try:
        return Active(UUID(sitting), float(total))
    except ValueError:
        return None


def number(data: QueryDict, name: str) -> int:
    """0, the id of nothing, where no number was sent."""
    return id_in(data.get(name, "")) or 0


def told(sent: bytes) -> dict[str, Any]:
    """The JSON object of a page's heartbeat; an empty one where it is none."""
    try:
        found = json.loads(sent or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def draft_from_json(sent: bytes) -> tuple[dict[str, list[str]], str | None]:
    """{"body": {field: text or [texts]}, "seen": version} as the browser's autosave sends it: the body, and what it was
    written over where the browser knows. Raises BadDraft."""
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
    """The same, out of a form that was sent whole."""
    return _kept(dict(data.lists()))


def _kept(fields: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {
        _storable(name): [_storable(text) for text in values]
        for name, values in fields.items()
        if name not in PAGE_FIELDS
    }


def _storable(text: str) -> str:
    """A draft keeps what it can: half an emoji, cut by a keyboard, must not cost the rest of the text."""
    if storable(text):
        return text
    return text.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def typed(body: dict[str, Any] | None) -> Typed | None:
    """A stored draft as the form data it was."""
    if body is None:
        return None
    return MultiValueDict({name: values if isinstance(values, list) else [values] for name, values in body.items()})


def as_text(body: dict[str, Any]) -> str:
    """A draft to be read and copied: one field's text alone, several with their names."""
    lines = [(name, text) for name, values in body.items() for text in values if text.strip()]
    if len(lines) == 1:
        return str(lines[0][1])
    return "\n\n".join(f"{name}: {text}" for name, text in lines)
