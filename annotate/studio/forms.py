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
        """The filter for users. Ignores invalid values, which only a hand-typed address can have."""
        self.full_clean()
        chosen = self.cleaned_data
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
    """A reviewer's verdict. The button that was pressed sends `decision`."""

    comment = NoteField(
        label=_("Comment"),
        longest=5000,
        rows=4,
        help_text=_("The labeler reads it. You need a comment to send the answer back."),
    )
    # When the answer that the reviewer read was submitted. The labeler may have replaced it since.
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
    decision = forms.ChoiceField(choices=[("restart", _("Put back into the queue")), ("drop", _("End the task"))])


class QuarantineForm(forms.Form):
    decision = forms.ChoiceField(
        choices=[
            ("keep", _("Keep in quarantine")),
            ("release", _("Release")),
            ("instead", _("Use this prompt instead")),
        ]
    )
