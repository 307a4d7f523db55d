"""What the studio's lists are narrowed down by, and what a reviewer writes."""

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Q
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, Role
from annotate.lib.fields import NoteField
from annotate.work.refusals import CommentNeeded


class PeopleFilter(forms.Form):
    q = forms.CharField(label=_("Name"), required=False, max_length=100, widget=forms.SearchInput)
    role = forms.ChoiceField(label=_("Role"), required=False, choices=[("", _("All")), *Role.choices])
    cohort = forms.ChoiceField(label=_("Cohort"), required=False, choices=[("", _("All")), *Cohort.choices])
    active = forms.ChoiceField(
        label=_("Account"),
        required=False,
        choices=[("", _("All")), ("yes", _("Active")), ("no", _("Deactivated"))],
    )

    def condition(self) -> Q:
        """Which people are meant; what was typed into the address by hand and makes no sense narrows nothing."""
        self.full_clean()
        chosen: dict[str, Any] = self.cleaned_data
        condition = Q()
        for field in ("role", "cohort"):
            if chosen.get(field):
                condition &= Q(**{field: chosen[field]})
        if chosen.get("active"):
            condition &= Q(is_active=chosen["active"] == "yes")
        if word := chosen.get("q"):
            condition &= (
                Q(username__icontains=word)
                | Q(first_name__icontains=word)
                | Q(last_name__icontains=word)
                | Q(email__icontains=word)
            )
        return condition


class DecisionForm(forms.Form):
    """A reviewer's verdict: the button that was pressed, and what there is to say."""

    comment = NoteField(
        label=_("Comment"),
        longest=5000,
        rows=4,
        help_text=_("The labeler reads it. Needed when you send the answer back."),
    )
    # When the answer that the reviewer opened was submitted: another may have taken its place.
    read = forms.CharField(widget=forms.HiddenInput, max_length=50)
    decision = forms.ChoiceField(choices=[("accept", _("Accept")), ("send_back", _("Send back"))])

    def clean_read(self) -> datetime | None:
        try:
            return parse_datetime(self.cleaned_data["read"])
        except ValueError:
            return None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("decision") == "send_back" and "comment" not in self.errors and not values["comment"]:
            self.add_error("comment", str(CommentNeeded.message))
            self.fields["comment"].widget.attrs["autofocus"] = True
        return values


class StoppedForm(forms.Form):
    """What becomes of a stopped task: the button that was pressed."""

    decision = forms.ChoiceField(
        choices=[("restart", _("Put back into the queue")), ("drop", _("Want no more answers"))]
    )


class QuarantineForm(forms.Form):
    """What becomes of a prompt in quarantine: the button that was pressed."""

    decision = forms.ChoiceField(
        choices=[
            ("keep", _("Keep in quarantine")),
            ("release", _("Release")),
            ("instead", _("Use this prompt instead")),
        ]
    )
