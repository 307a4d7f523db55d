from typing import Any

from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.utils.translation import gettext_lazy as _

from annotate.accounts.actions import OnlyLabelersHeldOut
from annotate.accounts.models import Cohort, Role, User


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)
    cohort = forms.ChoiceField(
        label=_("Cohort"),
        choices=Cohort.choices,
        help_text=_("Held-out labelers measure a model; nothing they write is training data."),
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("cohort") == Cohort.HELD_OUT and values.get("role") != Role.LABELER:
            self.add_error("cohort", str(OnlyLabelersHeldOut()))
        return values


class InviteForm(RoleForm):
    username = forms.CharField(
        label=_("User name"),
        max_length=User._meta.get_field("username").max_length,
        validators=[UnicodeUsernameValidator()],
    )
    full_name = forms.CharField(
        label=_("Name"), required=False, max_length=User._meta.get_field("first_name").max_length
    )
    email = forms.EmailField(
        label=_("E-mail address"),
        required=False,
        max_length=User._meta.get_field("email").max_length,
        help_text=_("Without one, hand the link over yourself."),
    )
    field_order = ["username", "full_name", "email", "role", "cohort"]
