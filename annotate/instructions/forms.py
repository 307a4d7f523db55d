from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from annotate.instructions.actions import NoBriefs
from annotate.instructions.models import InstructionSettings, Reason
from annotate.instructions.rules import (
    MAX_BRIEFS,
    MAX_PAIRS,
    MIN_PAIRS,
    Original,
    Text,
    filled_pairs,
    needs_pairs,
    prompt_draft,
    unchanged,
)
from annotate.lib.fields import NoteField
from annotate.lib.text import is_blank, tidy
from annotate.pools.models import Category, Kind, Pool
from annotate.pools.rules import MAX_PROMPT_LENGTH, BadPrompt, Pair, prepare
from annotate.work.workflow import Context, Typed

# Characters. Unicode normalization shortens a text at most by this factor: refuse longer ones before it.
MAX_TYPED = 4 * MAX_PROMPT_LENGTH


NOTHING_CHANGED = _("You have not changed anything yet. If the instruction is good as it is, skip the task.")
QUERY_MISSING = _("Write the query of this pair.")
RESPONSE_MISSING = _("Write the response of this pair.")
PAIRS_INCOMPLETE = _("Some pairs are incomplete. Fill in both fields of a pair, or leave both empty.")


@dataclass(frozen=True)
class PairRow:
    number: int
    query: str = ""
    response: str = ""
    error: str = ""

    @property
    def query_error(self) -> bool:
        return bool(self.error) and is_blank(self.query)

    @property
    def response_error(self) -> bool:
        return bool(self.error) and not self.query_error


class InstructionForm(forms.Form):
    """A new instruction, or an edit of `source`. `cleaned_data["whole"]`: the text with its pairs."""

    text = forms.CharField(
        label=_("Instruction"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "dir": "auto", "data-key": "w", "data-key-label": _("Write")}),
        error_messages={"required": _("Write the instruction first.")},
    )
    category = forms.ChoiceField(
        label=_("Use case"),
        choices=[("", _("Choose one")), *Category.choices],
        error_messages={"required": _("Choose what the instruction is for.")},
    )
    reasons = forms.MultipleChoiceField(
        label=_("Why did you change it?"),
        choices=Reason.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one reason.")},
    )
    note = NoteField(label=_("Note for the reviewer"), longest=5000)

    def __init__(
        self, data: Typed | None = None, *, kind: str, source: Original | None, initial: Context | None = None
    ) -> None:
        super().__init__(data, initial=initial)
        self.kind, self.source = kind, source
        self.few_shot = needs_pairs(kind, source)
        if source is None:
            del self.fields["reasons"]
        self.pairs = self._pairs(data) if self.few_shot else []

    def _pairs(self, data: Typed | None) -> list[Pair]:
        if data is None:
            return list(self.initial.get("pairs", []))
        return filled_pairs(data.getlist("query"), data.getlist("response"))

    @property
    def characters(self) -> int:
        pairs = sum(len(pair["query"]) + len(pair["response"]) for pair in self.pairs)
        return len(self["text"].value() or "") + pairs

    min_pairs = MIN_PAIRS
    max_pairs = MAX_PAIRS

    @property
    def rows(self) -> list[PairRow]:
        """The filled pairs and an empty one, at least one more than necessary."""
        errors: dict[int, str] = getattr(self, "pair_errors", {})
        filled = [
            PairRow(number, pair["query"], pair["response"], errors.get(number, ""))
            for number, pair in enumerate(self.pairs, start=1)
        ]
        shown = min(max(MIN_PAIRS + 1, len(filled) + 1), MAX_PAIRS)
        return filled + [PairRow(number, error=errors.get(number, "")) for number in range(len(filled) + 1, shown + 1)]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.characters > MAX_TYPED:
            raise ValidationError(
                _("The instruction is longer than %(limit)s characters. Shorten it."),
                params={"limit": f"{MAX_PROMPT_LENGTH:,}"},
            )
        pairs = self._clean_pairs()
        if self.errors:
            return values
        whole = Text(tidy(values["text"]), tuple(pairs))
        if self.source and unchanged(self.source.text, whole):
            self.add_error("text", NOTHING_CHANGED)
            return values
        try:
            prepare(prompt_draft(whole, kind=self.kind, category=values["category"], source=self.source))
        except BadPrompt as bad:
            raise ValidationError(str(bad)) from bad
        return values | {"whole": whole}

    def _clean_pairs(self) -> list[Pair]:
        self.pair_errors: dict[int, str] = {}
        if not self.few_shot:
            return []
        for number, pair in enumerate(self.pairs, start=1):
            if is_blank(pair["query"]):
                self.pair_errors[number] = str(QUERY_MISSING)
            elif is_blank(pair["response"]):
                self.pair_errors[number] = str(RESPONSE_MISSING)
        if self.pair_errors:
            self.add_error(None, PAIRS_INCOMPLETE)
        elif len(self.pairs) < MIN_PAIRS:
            self.add_error(None, _("Write at least two pairs. One becomes the question, the others are examples."))
            self.pair_errors[len(self.pairs) + 1] = str(_("Write this pair."))
        elif len(self.pairs) > MAX_PAIRS:
            self.add_error(None, _("Write at most %(limit)s pairs.") % {"limit": MAX_PAIRS})
        return [Pair(query=tidy(pair["query"]), response=tidy(pair["response"])) for pair in self.pairs]


class InstructionSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = InstructionSettings
        fields = ["rewrite_pool", "target_pool"]
        help_texts = {
            "rewrite_pool": _("Labelers rewrite every prompt of the pool. Off: they only work on your briefs."),
            "target_pool": _("Accepted instructions become prompts of this pool. Edits keep a link to their source."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target_pool"].queryset = Pool.objects.order_by("name")  # type: ignore[attr-defined]


class BriefsForm(forms.Form):
    kind = forms.ChoiceField(label=_("Kind"), choices=Kind.choices)
    count = forms.IntegerField(
        label=_("How many"),
        required=False,
        min_value=1,
        max_value=MAX_BRIEFS,
        help_text=_("For plain and few-shot instructions. Labelers choose the subject."),
    )
    use_cases = NoteField(
        label=_("Use cases, one per line"),
        longest=100_000,
        rows=4,
        help_text=_("For user-based instructions. Describe what the model is for. Leave out names and details."),
    )

    def clean_use_cases(self) -> list[str]:
        lines = self.cleaned_data["use_cases"].splitlines()
        return [line.strip() for line in lines if not is_blank(line)]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        user_based = values.get("kind") == Kind.USER_BASED
        field = "use_cases" if user_based else "count"
        if field not in self.errors and not values.get(field):
            self.add_error(field, str(NoBriefs.message))
        return values | {"count": values.get("count") or 0}
