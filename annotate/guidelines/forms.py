from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.guidelines.models import Guideline, GuidelineVersion
from annotate.lib.text import is_blank, tidy


class TextForm(forms.Form):
    body = forms.CharField(
        label=_("Text, in Markdown"), widget=forms.Textarea(attrs={"rows": 24, "dir": "auto"}), strip=False
    )

    def clean_body(self) -> str:
        body = tidy(self.cleaned_data["body"])
        if is_blank(body):
            raise forms.ValidationError(_("The text is empty. Write the guideline."))
        return body


class GuidelineForm(TextForm):
    name = forms.CharField(label=_("Name"), max_length=Guideline._meta.get_field("name").max_length)
    field_order = ["name", "body"]


class DraftForm(TextForm):
    summary = forms.CharField(
        label=_("What changed"),
        required=False,
        max_length=GuidelineVersion._meta.get_field("summary").max_length,
        help_text=_("Labelers read this before they acknowledge the new version."),
    )
