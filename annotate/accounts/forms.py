import re
from typing import Any

from allauth.account import forms as allauth
from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.utils.translation import gettext_lazy as _

from annotate.accounts.actions import OnlyLabelersHeldOut
from annotate.accounts.models import Cohort, Qualification, Role, User
from annotate.lib import mail

LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


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


class WorkForm(forms.Form):
    """What a labeler is given to work on."""

    languages = forms.CharField(
        label=_("Languages"),
        required=False,
        max_length=300,
        help_text=_("Language tags with commas between them, such as en, pt-BR. None: tasks in every language."),
    )
    qualifications = forms.ModelMultipleChoiceField(
        label=_("Qualifications"),
        queryset=Qualification.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Campaigns may ask for them."),
    )
    daily_cap = forms.IntegerField(
        label=_("Most answers a day"),
        required=False,
        min_value=1,
        max_value=32767,
        help_text=_("Over all campaigns. None: no limit."),
    )

    def clean_languages(self) -> list[str]:
        """The tags, in the one way they are written, each once."""
        tags = [tag.strip() for tag in self.cleaned_data["languages"].replace(";", ",").split(",")]
        wrong = [tag for tag in tags if tag and not LANGUAGE_TAG.fullmatch(tag)]
        if wrong:
            raise forms.ValidationError(
                _("“%(tag)s” is no language tag; write one such as en or pt-BR.") % {"tag": wrong[0]}
            )
        return list(dict.fromkeys(written(tag) for tag in tags if tag))


def written(tag: str) -> str:
    """Language in small letters, a region of two in capital ones: pt-BR, zh-Hant-TW."""
    first, *rest = tag.replace("_", "-").split("-")
    return "-".join([first.lower(), *(part.upper() if len(part) == 2 else part.capitalize() for part in rest)])


class ResetPasswordForm(allauth.ResetPasswordForm):  # type: ignore[misc]  # allauth ships no types
    """The page for forgotten passwords. Without a mail server it makes no link and looks up no account."""

    def clean_email(self) -> str:
        if not mail.is_set_up():
            raise forms.ValidationError(_("This platform sends no mail. Ask a manager for a link to set a password."))
        return str(super().clean_email())


class QualificationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Qualification
        fields = ["name", "description"]
        help_texts = {
            "name": _("What a labeler has shown they can do, such as medical knowledge."),
            "description": _("Who has it, and how they have shown it."),
        }


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
