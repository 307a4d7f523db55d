from allauth.account import forms as allauth
from allauth.core.exceptions import ImmediateHttpResponse
from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db import transaction
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import int_to_base36
from django.utils.translation import gettext_lazy as _

from annotate.accounts import links
from annotate.accounts.actions import OnlyLabelersHeldOut
from annotate.accounts.models import Cohort, Qualification, Role, User
from annotate.lib import mail
from annotate.lib.languages import BadLanguage, canonical


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)
    cohort = forms.ChoiceField(
        label=_("Cohort"),
        choices=Cohort.choices,
        help_text=_("Held-out labelers evaluate models. Their answers never become training data."),
    )

    def clean(self) -> dict[str, object]:
        values: dict[str, object] = super().clean() or {}
        if values.get("cohort") == Cohort.HELD_OUT and values.get("role") != Role.LABELER:
            self.add_error("cohort", str(OnlyLabelersHeldOut()))
        return values


class WorkForm(forms.Form):
    languages = forms.CharField(
        label=_("Languages"),
        required=False,
        max_length=300,
        help_text=_(
            "Language tags separated by commas, such as en, pt-BR. en includes all English tasks, en-GB those in en "
            "and en-GB. Leave empty for all languages."
        ),
    )
    qualifications = forms.ModelMultipleChoiceField(
        label=_("Qualifications"),
        queryset=Qualification.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Campaigns may require them."),
    )
    daily_cap = forms.IntegerField(
        label=_("Daily limit"),
        required=False,
        min_value=1,
        max_value=32767,
        help_text=_("Answers per day in all campaigns together. Leave empty for no limit."),
    )

    def clean_languages(self) -> list[str]:
        tags = [tag for tag in self.cleaned_data["languages"].replace(";", ",").split(",") if tag.strip()]
        try:
            return list(dict.fromkeys(canonical(tag) for tag in tags))
        except BadLanguage as bad:
            raise forms.ValidationError(str(bad)) from bad


class ResetPasswordForm(allauth.ResetPasswordForm):  # type: ignore[misc]  # allauth ships no types
    """Without a mail server it creates no link and looks up no account."""

    def clean_email(self) -> str:
        if not mail.is_set_up():
            raise forms.ValidationError(_("This platform sends no mail. Ask a manager for a link to set a password."))
        return str(super().clean_email())


class SetPasswordByLinkForm(allauth.ResetPasswordKeyForm):  # type: ignore[misc]  # allauth ships no types
    user: User

    def save(self) -> None:
        """Check again, because another browser may have used the link since."""
        with transaction.atomic():
            self.user = User.objects.select_for_update(no_key=True).get(id=self.user.id)
            if not links.TOKENS.check_token(self.user, self.temp_key):
                # It says that the link is no longer valid.
                page = {"uidb36": int_to_base36(self.user.id), "key": "set-password"}
                raise ImmediateHttpResponse(redirect(reverse("account_reset_password_from_key", kwargs=page)))
            super().save()


class QualificationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Qualification
        fields = ["name", "description"]
        help_texts = {
            "name": _("A proven ability of a labeler, such as medical knowledge."),
            "description": _("Who gets it, and how they prove it."),
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
        help_text=_("Without an address, give the link to the person yourself."),
    )
    field_order = ["username", "full_name", "email", "role", "cohort"]
