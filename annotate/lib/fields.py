from typing import Any

from django import forms
from django.core.validators import MaxLengthValidator

from annotate.lib.text import is_blank, tidy_within


class NoteField(forms.CharField):
    """An optional text, "" if it is blank. With Django's `max_length` browsers cut pasted text silently."""

    def __init__(self, *, longest: int, rows: int = 2, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "dir": "auto"})
        validators = [MaxLengthValidator(longest)]
        self.longest = longest
        super().__init__(required=False, strip=False, widget=widget, validators=validators, **kwargs)

    def to_python(self, value: object) -> str:
        text = tidy_within(super().to_python(value) or "", self.longest)
        return "" if is_blank(text) else text
