"""Form fields for what people type."""

from typing import Any

from django import forms
from django.core.validators import MaxLengthValidator

from annotate.lib.text import is_blank, tidy


class NoteField(forms.CharField):
    """An optional text in a text area: stored as it was typed (see `tidy`), empty if nothing in it can be seen, and refused if it is too long.

    Django's `max_length` also becomes an attribute of the text area, and the browser then cuts a paste without a word.
    """

    def __init__(self, *, longest: int, rows: int = 2, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "dir": "auto"})
        validators = [MaxLengthValidator(longest)]
        super().__init__(required=False, strip=False, widget=widget, validators=validators, **kwargs)

    def to_python(self, value: object) -> str:
        text = tidy(super().to_python(value) or "")
        return "" if is_blank(text) else text
