from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from annotate.demonstrations.rules import MAX_CHARACTERS, length
from annotate.lib.text import is_blank, tidy_within


class DemonstrationForm(forms.Form):
    # No max_length: as an attribute of the textarea it would cut a paste short without a word.
    text = forms.CharField(
        label=_("Your answer"),
        strip=False,
        widget=forms.Textarea(
            attrs={
                "rows": 14,
                "dir": "auto",
                "data-count": "length",
                "data-tall": True,
                "data-key": "w",
                "data-key-label": _("Write"),
            }
        ),
        error_messages={"required": _("Write your answer first.")},
    )

    def clean_text(self) -> str:
        text = tidy_within(self.cleaned_data["text"], MAX_CHARACTERS)
        if is_blank(text):
            raise ValidationError(self.fields["text"].error_messages["required"], "required")
        characters = length(text).characters
        if characters > MAX_CHARACTERS:
            raise ValidationError(
                _("The answer has %(characters)s characters; the most are %(most)s."),
                "too_long",
                {"characters": f"{characters:,}", "most": f"{MAX_CHARACTERS:,}"},
            )
        return text
