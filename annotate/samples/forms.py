"""What a manager types about policies and runs, turned into the values that the actions take."""

import secrets
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from annotate.samples.actions import AllEqual, LocationMismatch
from annotate.samples.models import Origin, Policy, SampleRun, Stage
from annotate.samples.queries import current_policy, policies_to_sample

MOST_STOPS = 8
# Seeds are drawn below this, so that they stay readable; any that fits the column may be typed.
SEEDS = 2**31
hub_id = RegexValidator(r"\A[\w.-]+(/[\w.-]+)?(@[\w./-]+)?\Z", _("Write owner/name, or owner/name@commit."))


def draw_seed() -> int:
    """For a run whose seed nobody chose; it is stored with the run, so the run can be repeated."""
    return secrets.randbelow(SEEDS)


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Policy
        fields = ["name", "revision", "stage", "origin", "location", "chat_template", "dtype"]
        help_texts = {
            "revision": _("A new checkpoint of the same policy gets a new revision."),
            "location": _("The folder as the worker sees it, or owner/name@commit; empty for imported completions."),
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        origin, location = values.get("origin"), values.get("location", "")
        if origin and "location" not in self.errors:
            if (origin == Origin.IMPORTED) == bool(location):
                self.add_error("location", str(LocationMismatch()))
            elif origin == Origin.HUB:
                try:
                    hub_id(location)
                except ValidationError as wrong:
                    self.add_error("location", wrong)
        return values


class StopStrings(forms.CharField):
    r"""One stop string a line; \n and \t are typed for a newline and a tab."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> Any:
        lines = (super().to_python(value) or "").splitlines()
        return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line]

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(stop.replace("\n", "\\n").replace("\t", "\\t") for stop in value)

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > MOST_STOPS:
            raise ValidationError(_("Give at most %(most)d stop strings."), params={"most": MOST_STOPS})

    def run_validators(self, value: Any) -> None:
        for stop in value:
            super().run_validators(stop)


class SampleRunForm(forms.ModelForm):  # type: ignore[type-arg]
    stop = StopStrings(
        label=_("stop strings"),
        required=False,
        strip=False,
        max_length=100,
        help_text=_("One a line; the text ends before the first of them. Write \\n for a newline."),
    )
    seed = forms.IntegerField(
        label=_("seed"),
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text=_("The same seed, policy and parameters give the same completions. Empty: one is drawn."),
    )

    class Meta:
        model = SampleRun
        fields = ["pool", "policy", "k", "temperature", "top_p", "max_new_tokens", "stop", "seed"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["policy"].queryset = policies_to_sample()  # type: ignore[attr-defined]
        self.initial.setdefault("policy", current_policy(Stage.SFT))
        self.initial.setdefault("k", 4)

    def clean_seed(self) -> int:
        seed: int | None = self.cleaned_data["seed"]
        return draw_seed() if seed is None else seed

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("temperature") == 0 and values.get("k", 1) > 1:
            self.add_error("temperature", str(AllEqual()))
        return values
