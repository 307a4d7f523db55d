"""What a manager types about policies and runs, turned into the values that the actions take."""

import secrets
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, RegexValidator
from django.utils.translation import gettext_lazy as _

from annotate.pools.rules import Message
from annotate.samples.actions import AllEqual, LocationMismatch, NotACheckpoint, NotAServer, TokensOfServer
from annotate.samples.models import CHECKPOINTS, Origin, Policy, Quantisation, SampleRun, Stage
from annotate.samples.queries import current_policy, policies_to_sample
from annotate.samples.rules import (
    BadExamples,
    BadServer,
    canonical_examples,
    check_server,
    is_folder,
    server_address,
)

MOST_STOPS = 8
# Seeds are drawn below this, so that they stay readable; any that fits the column may be typed.
SEEDS = 2**31
hub_id = RegexValidator(r"\A[\w.-]+(/[\w.-]+)?(@[\w./-]+)?\Z", _("Write owner/name, or owner/name@commit."))


def draw_seed() -> int:
    """For a run whose seed nobody chose; it is stored with the run, so the run can be repeated."""
    return secrets.randbelow(SEEDS)


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    # How weights are loaded if nothing is said about it.
    LOADING: dict[str, Any] = {
        "adapter": "",
        "quantisation": Quantisation.NONE,
        "unsafe_weights": False,
        "needs_gpu": False,
    }
    OF_SERVER = ("served_model", "endpoint", "key_name")
    # Which fields show for which origin only; an imported policy needs none of them.
    ONLY = (
        ((*CHECKPOINTS, Origin.SERVER), ("location", "chat_template", "examples")),
        (CHECKPOINTS, ("dtype", *LOADING)),
        ((Origin.SERVER,), OF_SERVER),
    )

    class Meta:
        model = Policy
        fields = [
            "name",
            "revision",
            "stage",
            "origin",
            "location",
            "served_model",
            "endpoint",
            "key_name",
            "adapter",
            "chat_template",
            "examples",
            "dtype",
            "quantisation",
            "unsafe_weights",
            "needs_gpu",
        ]
        help_texts = {
            "revision": _("A new checkpoint of the same policy gets a new revision."),
            "location": _(
                "The folder as the worker sees it, owner/name@commit of a hub, or a server's address up to /v1; "
                "empty for imported completions."
            ),
            "served_model": _("Of a server: the name by which it knows the model."),
            "endpoint": _("Of a server: chat for chat models; completions for base models, with plain text."),
            "key_name": _(
                "Of a server that wants a key: the name of the worker's environment variable that holds it, such as "
                "SERVER_KEY_LAB. Never the key itself."
            ),
            "adapter": _(
                "LoRA or another kind of adapter on top of the checkpoint: its folder, or its hub id if the checkpoint "
                "has one too. Empty: none."
            ),
            "chat_template": _(
                "Jinja. Empty: the tokenizer's own, or plain text if it has none. Write plain-v1 for plain text."
            ),
            "examples": _(
                "Messages that stand before every prompt, for base models, as JSON: "
                '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]. Empty: none.'
            ),
            "dtype": _("Automatic: bfloat16 on a GPU, float32 elsewhere."),
            "quantisation": _("For a policy that is too large for the worker's memory; its text is a little worse."),
            "unsafe_weights": _("Pickled weights can run any code on the worker. Only for files you made yourself."),
            "needs_gpu": _("Workers without a GPU leave its runs to those with one."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["origin"].widget.attrs["data-only-by"] = ""
        for origins, names in self.ONLY:
            for name in names:
                self.fields[name].widget.attrs["data-only"] = " ".join(origins)

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
        adapter = values.get("adapter", "")
        if origin == Origin.HUB and adapter and not is_folder(adapter):
            try:
                hub_id(adapter)
            except ValidationError:
                self.add_error("adapter", _("Write owner/name, owner/name@commit, or a folder that begins with /."))
        if origin and origin not in CHECKPOINTS:
            for name, default in self.LOADING.items():
                if values.get(name, default) != default:
                    self.add_error(name, str(NotACheckpoint()))
        self._clean_server(origin, values)
        return values

    def _clean_server(self, origin: str | None, values: dict[str, Any]) -> None:
        said = {name: values.get(name, "") for name in self.OF_SERVER}
        if origin == Origin.SERVER:
            # Each by itself: what is left unsaid here the database says in its own words.
            try:
                check_server(**said, chat_template=values.get("chat_template", ""))
            except BadServer as bad:
                self.add_error(bad.field, str(bad))
            try:
                if location := values.get("location"):
                    values["location"] = server_address(location)
            except BadServer as bad:
                self.add_error(bad.field, str(bad))
        elif origin:
            for name in (name for name, value in said.items() if value):
                self.add_error(name, str(NotAServer()))

    def clean_examples(self) -> list[Message]:
        try:
            return canonical_examples(self.cleaned_data["examples"])
        except BadExamples as bad:
            raise ValidationError(str(bad)) from bad


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
        validators=[MaxLengthValidator(100)],  # of each; max_length would have the browser count all of them
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
        fields += ["keep_tokens", "resample_cut_off"]
        labels = {"max_new_tokens": _("Max new tokens"), "resample_cut_off": _("Sample cut-off completions again")}
        help_texts = {
            "keep_tokens": _(
                "With every completion its token ids, and of each the natural log of its probability under the policy "
                "itself, before temperature and top-p."
            ),
            "resample_cut_off": _(
                "Try a completion that reaches the max new tokens up to three times more. Empty and near-duplicate "
                "completions are always tried again."
            ),
        }

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
        if values.get("keep_tokens") and (policy := values.get("policy")) and policy.origin == Origin.SERVER:
            self.add_error("keep_tokens", str(TokensOfServer()))
        return values
