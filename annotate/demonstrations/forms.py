from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from annotate.demonstrations.rules import MAX_CHARACTERS, length
from annotate.lib.text import is_blank, tidy_within

TOO_LONG = _("The answer has %(characters)s characters. Shorten it to at most %(limit)s.")


class DemonstrationForm(forms.Form):
    # No max_length: the browser would silently cut a pasted text.
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
                TOO_LONG,
                "too_long",
                {"characters": f"{characters:,}", "limit": f"{MAX_CHARACTERS:,}"},
            )
        return text
