from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.forms import BaseFormSet, BoundField, formset_factory
from django.utils.translation import gettext_lazy as _

from annotate.lib.fields import NoteField
from annotate.rankings import stock
from annotate.rankings.models import MAX_AHEAD, Mix, MixPart, Pointer, RankingSettings
from annotate.rankings.rules import LETTERS, MARKS, MAX_CANDIDATES, RATINGS, Mark, Share
from annotate.samples.models import Policy, Stage
from annotate.samples.queries import policies_to_sample
from annotate.work.workflow import Typed


class RankingSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = RankingSettings
        fields = ["slate_min", "slate_max", "policies"]
        widgets = {"policies": forms.CheckboxSelectMultiple}
        help_texts = {
            "slate_min": _("A task opens when a prompt has this many different completions. At least 4."),
            "slate_max": _("A task shows no more than this many. At most 9."),
            "policies": _("Rank only completions of these policies. None chosen: those of every policy."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["policies"].queryset = Policy.objects.order_by("name", "revision")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        fewest, most = values.get("slate_min"), values.get("slate_max")
        if fewest and most and fewest > most:
            self.add_error("slate_max", _("Enter at least the fewest candidates."))
        return values


class RankingForm(forms.Form):
    """A rating and a place for each candidate shown, called by its letter. Nothing is chosen beforehand."""

    note = NoteField(label=_("Note"), longest=5000)

    def __init__(self, data: Typed | None = None, *, candidates: int, initial: dict[str, Any] | None = None) -> None:
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
        """Does a candidate lack its rating or its place?"""
        return any(name.startswith(("rating-", "place-")) for name in self.errors)

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


class MixForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Mix
        fields = ["low", "high", "renew", "cut_off_allowed"]
        help_texts = {
            "low": _("Workers refill the store when fewer slates than this are ready."),
            "high": _("The more are ready, the older a policy's completions may be when somebody ranks them."),
            "renew": _(
                "When a policy of the mix moves on, or you change the mix: slates that nobody has opened are sampled "
                "again, and replaced when the new ones are ready. Slates that somebody has opened always stay."
            ),
            "cut_off_allowed": _(
                "Without it, a completion that reaches the max new tokens is sampled again, and left out if the new one"
                " reaches them too."
            ),
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("low", 0) > values.get("high", MAX_AHEAD):
            self.add_error("high", str(MARKS))
        return values


class PartForm(forms.Form):
    """A part of a mix; one without a policy is no part."""

    source = forms.ChoiceField(label=_("Policy"), required=False)
    count = forms.IntegerField(label=_("Completions"), min_value=1, max_value=MAX_CANDIDATES, initial=1)
    temperature = forms.FloatField(label=_("Temperature"), min_value=0, max_value=5, initial=1.0)
    top_p = forms.FloatField(label=_("Top-p"), min_value=0.01, max_value=1, initial=1.0)
    max_new_tokens = forms.IntegerField(label=_("Max new tokens"), min_value=1, max_value=2**31 - 1, initial=128)

    def __init__(self, *args: Any, sources: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = sources  # type: ignore[attr-defined]

    @property
    def share(self) -> Share | None:
        """Of a valid form."""
        kind, _colon, named = self.cleaned_data["source"].partition(":")
        values = {name: value for name, value in self.cleaned_data.items() if name != "source"}
        if not kind:
            return None
        if kind == "policy":
            return Share(policy_id=int(named), **values)
        return Share(pointer=kind, stage=named, **values)


# So many empty parts a page offers; saving it offers more.
SPARE = 2


def part_forms(parts: Iterable[MixPart], data: Typed | None = None) -> "BaseFormSet[PartForm]":
    """The parts there are, and room for more."""
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


def _sources() -> list[Any]:
    pointers = []
    for stage in Stage:
        for pointer in Pointer:
            if policy := stock.pointed_at(Share(pointer=pointer, stage=stage, count=1)):
                words = _("%(stage)s: %(pointer)s (now %(policy)s)")
                names = {"stage": stage.label, "pointer": pointer.label, "policy": policy}
                pointers.append((f"{pointer}:{stage}", words % names))
    policies = [(f"policy:{policy.id}", str(policy)) for policy in policies_to_sample()]
    return [("", "–"), (_("Whichever it is by then"), pointers), (_("Always the same"), policies)]
