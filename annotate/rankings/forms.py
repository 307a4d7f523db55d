from collections.abc import Sequence
from typing import Any

from django import forms
from django.forms import BoundField
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from annotate.lib.text import tidy
from annotate.rankings.rules import LETTERS, RATINGS, Mark


class RankingForm(forms.Form):
    """A rating and a place for each candidate shown, called by its letter. Nothing is chosen beforehand."""

    note = forms.CharField(label=_("Note"), required=False, max_length=5000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(
        self, data: QueryDict | None = None, *, candidates: int, initial: dict[str, Any] | None = None
    ) -> None:
        super().__init__(data, initial=initial)
        self.letters: Sequence[str] = LETTERS[:candidates]
        for letter in self.letters:
            self.fields[f"rating-{letter}"] = _number(
                RATINGS, missing=_("Rate candidate %(letter)s from 1 to 7.") % {"letter": letter}
            )
            self.fields[f"place-{letter}"] = _number(
                range(1, candidates + 1), missing=_("Put candidate %(letter)s in a place.") % {"letter": letter}
            )

    def rating(self, letter: str) -> BoundField:
        return self[f"rating-{letter}"]

    def place(self, letter: str) -> BoundField:
        return self[f"place-{letter}"]

    def clean_note(self) -> str:
        return tidy(self.cleaned_data["note"])

    @property
    def marks(self) -> dict[str, Mark]:
        """By letter; of a valid form."""
        values = self.cleaned_data
        return {letter: Mark(values[f"rating-{letter}"], values[f"place-{letter}"]) for letter in self.letters}


def _number(numbers: range, *, missing: Any) -> forms.TypedChoiceField:
    choices = [("", "–"), *((str(number), str(number)) for number in numbers)]
    return forms.TypedChoiceField(
        choices=choices, coerce=int, error_messages={"required": missing, "invalid_choice": missing}
    )
