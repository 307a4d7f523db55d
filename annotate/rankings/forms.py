from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.forms import BaseFormSet, BoundField, formset_factory
from django.utils.translation import gettext_lazy as _

from annotate.lib.fields import NoteField
from annotate.rankings import slate_queries
from annotate.rankings.models import MAX_AHEAD, Mix, MixPart, Pointer, RankingSettings
from annotate.rankings.rules import LETTERS, LOW_ABOVE_HIGH, MAX_CANDIDATES, RATINGS, Mark, Share
from annotate.samples.models import Policy, Stage
from annotate.samples.queries import policies_to_sample
from annotate.work.workflow import Context, Typed, Words

# Choices, and groups under a title.
Choices = list[tuple[Words, Words | list[tuple[str, Words]]]]

MAX_BELOW_MIN = _("Enter a number that is not smaller than the minimum.")


class RankingSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = RankingSettings
        fields = ["slate_min", "slate_max", "policies"]
        widgets = {"policies": forms.CheckboxSelectMultiple}
        help_texts = {
            "slate_min": _("A task opens when a prompt has this many different completions. Enter at least 4."),
            "slate_max": _("A task shows no more than this many candidates. Enter at most 9."),
            "policies": _("Rank only completions of these policies. Choose none to rank those of every policy."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["policies"].queryset = Policy.objects.order_by("name", "revision")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        low, high = values.get("slate_min"), values.get("slate_max")
        if low and high and low > high:
            self.add_error("slate_max", MAX_BELOW_MIN)
        return values


class RankingForm(forms.Form):
    """A rating and a place for each letter. Nothing is preselected, which would bias the labeler."""

    note = NoteField(label=_("Note"), longest=5000)

    def __init__(self, data: Typed | None = None, *, candidates: int, initial: Context | None = None) -> None:
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

    @property
    def is_incomplete(self) -> bool:
        return any(name.startswith(("rating-", "place-")) for name in self.errors)

    @property
    def marks(self) -> dict[str, Mark]:
        """By letter. Valid forms only."""
        values = self.cleaned_data
        return {letter: Mark(values[f"rating-{letter}"], values[f"place-{letter}"]) for letter in self.letters}


def _number(numbers: range, *, missing: str) -> forms.TypedChoiceField:
    choices = [("", "–"), *((str(number), str(number)) for number in numbers)]
    return forms.TypedChoiceField(
        choices=choices, coerce=int, error_messages={"required": missing, "invalid_choice": missing}
    )


class MixForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Mix
        fields = ["low", "high", "renew", "cut_off_allowed"]
        help_texts = {
            "low": _("Sampling starts when fewer slates than this are ready."),
            "high": _("A larger number means older completions when labelers rank them."),
            "renew": _(
                "When you change the mix, or a policy of the mix changes, new slates replace those that nobody has "
                "opened. Opened slates never change."
            ),
            "cut_off_allowed": _(
                "If you turn this off, a completion that reaches the max new tokens is sampled again, and left out if"
                " the new one reaches them too."
            ),
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("low", 0) > values.get("high", MAX_AHEAD):
            self.add_error("high", str(LOW_ABOVE_HIGH))
        return values


class PartForm(forms.Form):
    """A part without a policy is ignored."""

    source = forms.ChoiceField(label=_("Policy"), required=False)
    count = forms.IntegerField(label=_("Completions"), min_value=1, max_value=MAX_CANDIDATES, initial=1)
    temperature = forms.FloatField(label=_("Temperature"), min_value=0, max_value=5, initial=1.0)
    top_p = forms.FloatField(label=_("Top-p"), min_value=0.01, max_value=1, initial=1.0)
    max_new_tokens = forms.IntegerField(label=_("Max new tokens"), min_value=1, max_value=2**31 - 1, initial=128)

    def __init__(self, *args: Any, sources: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = sources  # type: ignore[attr-defined]

    @property
    def share(self) -> Share | None:
        """None: the part is empty. Valid forms only."""
        kind, _colon, name = self.cleaned_data["source"].partition(":")
        values = {field: value for field, value in self.cleaned_data.items() if field != "source"}
        if not kind:
            return None
        if kind == "policy":
            return Share(policy_id=int(name), **values)
        return Share(pointer=kind, stage=name, **values)


# Empty parts on a page.
SPARE = 2


def part_forms(parts: Iterable[MixPart], data: Typed | None = None) -> "BaseFormSet[PartForm]":
    initial = [
        {
            "source": f"policy:{part.policy_id}" if part.policy_id else f"{part.pointer}:{part.stage}",
            "count": part.count,
            "temperature": part.temperature,
            "top_p": part.top_p,
            "max_new_tokens": part.max_new_tokens,
        }
        for part in parts
    ]
    part_formset = formset_factory(
        PartForm,
        extra=min(SPARE, MAX_CANDIDATES - len(initial)),
        max_num=MAX_CANDIDATES,
        absolute_max=MAX_CANDIDATES,
    )
    return part_formset(data, initial=initial, prefix="parts", form_kwargs={"sources": _sources()})


def _sources() -> Choices:
    pointers: list[tuple[str, Words]] = []
    for stage in Stage:
        for pointer in Pointer:
            if policy := slate_queries.pointed_at(Share(pointer=pointer, stage=stage, count=1)):
                label = _("%(stage)s: %(pointer)s (now %(policy)s)")
                names = {"stage": stage.label, "pointer": pointer.label, "policy": policy}
                pointers.append((f"{pointer}:{stage}", label % names))
    policies: list[tuple[str, Words]] = [(f"policy:{policy.id}", str(policy)) for policy in policies_to_sample()]
    return [("", "–"), (_("Follow the stage"), pointers), (_("Fixed policy"), policies)]
