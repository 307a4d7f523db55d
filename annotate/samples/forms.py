import secrets
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, RegexValidator
from django.utils.translation import gettext_lazy as _

from annotate.pools.rules import Message
from annotate.samples.models import Origin, Policy, SampleRun, Stage
from annotate.samples.policies import LocationMismatch, misplaced
from annotate.samples.queries import current_policy, policies_to_sample
from annotate.samples.rules import (
    BadExamples,
    BadServer,
    canonical_examples,
    check_server,
    is_folder,
    server_address,
)
from annotate.samples.runs import AllEqual, TokensOfServer
from annotate.samples.spec import DEFAULTS, FIELDS, SEED, K, PolicySpec

Values = dict[str, Any]
MAX_STOPS = 8
# Drawn seeds are short enough to read. People may type any that fits the column.
MAX_DRAWN_SEED = 2**31
hub_id = RegexValidator(r"\A[\w.-]+(/[\w.-]+)?(@[\w./-]+)?\Z", _("Enter owner/name, or owner/name@commit."))


def draw_seed() -> int:
    return secrets.randbelow(MAX_DRAWN_SEED)


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Policy
        fields = list(FIELDS)
        help_texts = {name: about.help for name, about in FIELDS.items()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["origin"].widget.attrs["data-only-by"] = ""
        for name, about in FIELDS.items():
            if about.origins != tuple(Origin):
                self.fields[name].widget.attrs["data-only"] = " ".join(about.origins)

    def spec(self) -> PolicySpec:
        return PolicySpec(**self.cleaned_data)

    def clean(self) -> Values:
        values = super().clean() or {}
        if origin := values.get("origin"):
            self._clean_place(origin, values)
            for name in PolicySpec(**dict.fromkeys(FIELDS, "") | DEFAULTS | values).misplaced():
                self.add_error(name, str(misplaced(name)))
            if origin == Origin.SERVER:
                self._clean_server(values)
        return values

    def _clean_place(self, origin: str, values: Values) -> None:
        location, adapter = values.get("location", ""), values.get("adapter", "")
        if "location" not in self.errors and (origin == Origin.IMPORTED) == bool(location):
            self.add_error("location", str(LocationMismatch()))
        elif origin == Origin.HUB and location:
            try:
                hub_id(location)
            except ValidationError as wrong:
                self.add_error("location", wrong)
        if origin == Origin.HUB and adapter and not is_folder(adapter):
            try:
                hub_id(adapter)
            except ValidationError:
                self.add_error("adapter", _("Enter owner/name, owner/name@commit, or a folder that begins with /."))

    def _clean_server(self, values: Values) -> None:
        # Two separate checks: an error of one must not leave the other to a constraint of the table.
        names = ("served_model", "endpoint", "key_name", "chat_template")
        try:
            check_server(**{name: values.get(name, "") for name in names})
        except BadServer as bad:
            self.add_error(bad.field, str(bad))
        try:
            if location := values.get("location"):
                values["location"] = server_address(location)
        except BadServer as bad:
            self.add_error(bad.field, str(bad))

    def clean_examples(self) -> list[Message]:
        try:
            return canonical_examples(self.cleaned_data["examples"])
        except BadExamples as bad:
            raise ValidationError(str(bad)) from bad


class StopStrings(forms.CharField):
    r"""One stop string per line. People type \n for a newline and \t for a tab."""

    widget = forms.Textarea

    def to_python(self, value: object) -> Any:
        lines = (super().to_python(value) or "").splitlines()
        return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line]

    def prepare_value(self, value: object) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(stop.replace("\n", "\\n").replace("\t", "\\t") for stop in value)

    def validate(self, value: list[str]) -> None:
        super().validate(value)
        if len(value) > MAX_STOPS:
            raise ValidationError(_("Enter at most %(max)d stop strings."), params={"max": MAX_STOPS})

    def run_validators(self, value: list[str]) -> None:
        for stop in value:
            super().run_validators(stop)


class SampleRunForm(forms.ModelForm):  # type: ignore[type-arg]
    stop = StopStrings(
        label=_("stop strings"),
        required=False,
        strip=False,
        validators=[MaxLengthValidator(100)],  # Per string. With max_length the browser would count all of them.
        help_text=_("One per line. A completion ends before the first stop string in it. Enter \\n for a newline."),
    )
    seed = forms.IntegerField(
        label=_("seed"),
        required=False,
        **SEED.limits,
        help_text=_("The same seed, policy and parameters give the same completions. Empty: a random seed."),
    )

    class Meta:
        model = SampleRun
        fields = ["pool", "policy", "k", "temperature", "top_p", "max_new_tokens", "stop", "seed"]
        fields += ["keep_tokens", "resample_cut_off"]
        labels = {"max_new_tokens": _("Max new tokens"), "resample_cut_off": _("Sample cut-off completions again")}
        help_texts = {
            "keep_tokens": _(
                "Store the ids of each completion's tokens with their logprobs: the natural log of the policy's "
                "probability, before temperature and top-p."
            ),
            "resample_cut_off": _(
                "Sample a completion that reaches the max new tokens up to three more times. Empty and near-duplicate "
                "completions are always sampled again."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["policy"].queryset = policies_to_sample()  # type: ignore[attr-defined]
        self.initial.setdefault("policy", current_policy(Stage.SFT))
        self.initial.setdefault("k", K.default)

    def clean_seed(self) -> int:
        seed: int | None = self.cleaned_data["seed"]
        return draw_seed() if seed is None else seed

    def clean(self) -> Values:
        values = super().clean() or {}
        if values.get("temperature") == 0 and values.get("k", 1) > 1:
            self.add_error("temperature", str(AllEqual()))
        if values.get("keep_tokens") and (policy := values.get("policy")) and policy.origin == Origin.SERVER:
            self.add_error("keep_tokens", str(TokensOfServer()))
        return values
