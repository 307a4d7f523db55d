"""The fields of a policy and the bounds of a run, declared once for form, API, command line, worker and table.

To add a field, declare it in `PolicySpec` and add its column to `models.Policy`.
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, Generic, TypeVar

from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.pools.rules import Message

Options = dict[str, Any]
N = TypeVar("N", int, float)


class Stage(TextChoices):
    BASE = "base", _("Base")
    SFT = "sft", _("SFT")
    PPO = "ppo", _("PPO")


class Origin(TextChoices):
    LOCAL = "local", _("Folder on the worker")
    HUB = "hub", _("Model hub id")
    # Its weights are known only by the name under which the server has them.
    SERVER = "server", _("Server with an OpenAI-compatible API")
    # Its completions come from files. It is never sampled here.
    IMPORTED = "imported", _("Imported completions")


# A worker loads the weights itself.
CHECKPOINTS = (Origin.LOCAL, Origin.HUB)
SAMPLED = (*CHECKPOINTS, Origin.SERVER)


class Dtype(TextChoices):
    AUTO = "auto", _("Automatic")
    FLOAT32 = "float32", "float32"
    BFLOAT16 = "bfloat16", "bfloat16"
    FLOAT16 = "float16", "float16"


class Endpoint(TextChoices):
    CHAT = "chat", _("Chat: the server applies the template")
    COMPLETIONS = "completions", _("Completions: the worker makes the text")


class Quantisation(TextChoices):
    NONE = "none", _("None")
    INT8 = "int8", _("8 bits (int8)")
    NF4 = "nf4", _("4 bits (nf4)")


@dataclass(frozen=True, kw_only=True)
class About:
    label: Promise
    help: Promise | str = ""
    max_length: int | None = None
    choices: type[TextChoices] | None = None
    # The default of forms and columns for a field that scripts must give.
    suggested: str = ""
    # Forms hide the field for other origins.
    origins: tuple[Origin, ...] = tuple(Origin)
    # Refuse a value for other origins.
    refused_elsewhere: bool = False
    # The engine takes the field, under the same name, when it loads a checkpoint.
    loads: bool = False


def _about(label: Promise, *, default: object = MISSING, **about: Any) -> Any:
    metadata = {"about": About(label=label, **about)}
    if default is list:
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    name: str = _about(_("name"), max_length=120)
    revision: str = _about(
        _("revision"),
        max_length=120,
        suggested="1",
        help=_("Give each new checkpoint of a policy a new revision."),
    )
    stage: str = _about(_("stage"), max_length=8, choices=Stage, suggested=Stage.SFT)
    origin: str = _about(_("origin"), max_length=16, choices=Origin, suggested=Origin.LOCAL)
    location: str = _about(
        _("folder, hub id or address"),
        default="",
        max_length=500,
        origins=SAMPLED,
        help=_(
            "A folder as the worker sees it, owner/name@commit of a hub, or the address of a server up to /v1. Leave "
            "it empty for imported completions."
        ),
    )
    served_model: str = _about(
        _("model on the server"),
        default="",
        max_length=200,
        origins=(Origin.SERVER,),
        refused_elsewhere=True,
        help=_("The name under which the server knows the model."),
    )
    endpoint: str = _about(
        _("endpoint"),
        default="",
        max_length=16,
        choices=Endpoint,
        origins=(Origin.SERVER,),
        refused_elsewhere=True,
        help=_("Choose chat for chat models, and completions (plain text) for base models."),
    )
    key_name: str = _about(
        _("name of the key"),
        default="",
        max_length=100,
        origins=(Origin.SERVER,),
        refused_elsewhere=True,
        help=_(
            "If the server needs a key: the name of the worker's environment variable that has it, such as "
            "SERVER_KEY_LAB. Do not enter the key itself."
        ),
    )
    adapter: str = _about(
        _("adapter"),
        default="",
        max_length=500,
        origins=CHECKPOINTS,
        refused_elsewhere=True,
        loads=True,
        help=_(
            "A LoRA or another PEFT adapter for the checkpoint: its folder, or its hub id if the checkpoint is on the "
            "hub. Empty: none."
        ),
    )
    chat_template: str = _about(
        _("chat template"),
        default="",
        origins=SAMPLED,
        loads=True,
        help=_(
            "A Jinja template. Empty: the tokenizer's template, or plain text if it has none. Enter plain-v1 for "
            "plain text."
        ),
    )
    examples: Sequence[Message] = _about(
        _("few-shot examples"),
        default=list,
        origins=SAMPLED,
        loads=True,
        help=_(
            "For base models: messages before every prompt, as JSON: "
            '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]. Empty: none.'
        ),
    )
    dtype: str = _about(
        _("dtype"),
        default=Dtype.AUTO,
        max_length=16,
        choices=Dtype,
        origins=CHECKPOINTS,
        loads=True,
        help=_("Automatic: bfloat16 on a GPU, float32 on a CPU."),
    )
    quantisation: str = _about(
        _("quantisation"),
        default=Quantisation.NONE,
        max_length=8,
        choices=Quantisation,
        origins=CHECKPOINTS,
        refused_elsewhere=True,
        loads=True,
        help=_("For a policy that is too large for the worker's memory. It lowers the quality of its text a little."),
    )
    unsafe_weights: bool = _about(
        _("load weights that are not safetensors"),
        default=False,
        origins=CHECKPOINTS,
        refused_elsewhere=True,
        loads=True,
        help=_("Pickled weights can run any code on the worker. Use this only for files that you made."),
    )
    needs_gpu: bool = _about(
        _("needs a GPU"),
        default=False,
        origins=CHECKPOINTS,
        refused_elsewhere=True,
        help=_("Only workers with a GPU sample this policy."),
    )

    def values(self) -> Options:
        return {name: getattr(self, name) for name in FIELDS}

    def misplaced(self) -> list[str]:
        """The names of fields with a value that this origin refuses."""
        return [
            name
            for name, about in FIELDS.items()
            if about.refused_elsewhere and self.origin not in about.origins and getattr(self, name) != DEFAULTS[name]
        ]


FIELDS: Final[dict[str, About]] = {each.name: each.metadata["about"] for each in fields(PolicySpec)}
DEFAULTS: Final[Options] = {
    each.name: [] if each.default_factory is list else each.default
    for each in fields(PolicySpec)
    if each.default is not MISSING or each.default_factory is not MISSING
}
REQUIRED: Final = tuple(name for name in FIELDS if name not in DEFAULTS)
LOADED: Final = tuple(name for name, about in FIELDS.items() if about.loads)


@dataclass(frozen=True, kw_only=True)
class Number(Generic[N]):
    """A parameter of a sampling run. Both bounds are allowed values."""

    default: N
    minimum: N
    maximum: N

    @property
    def limits(self) -> Options:
        """Arguments of fields in forms and serializers."""
        return {"min_value": self.minimum, "max_value": self.maximum}

    @property
    def validators(self) -> list[BaseValidator]:
        return [MinValueValidator(self.minimum), MaxValueValidator(self.maximum)]


K: Final = Number[int](default=4, minimum=1, maximum=64)
TEMPERATURE: Final = Number[float](default=1.0, minimum=0, maximum=5)
TOP_P: Final = Number[float](default=1.0, minimum=0.01, maximum=1)
MAX_NEW_TOKENS: Final = Number[int](default=128, minimum=1, maximum=2**31 - 1)
SEED: Final = Number[int](default=0, minimum=0, maximum=2**63 - 1)


def column(name: str) -> Options:
    """The arguments of the field of `models.Policy`."""
    about, default = FIELDS[name], DEFAULTS.get(name)
    options: Options = {"verbose_name": about.label}
    if about.max_length:
        options["max_length"] = about.max_length
    if about.choices:
        options["choices"] = about.choices.choices
    if default in ("", []):
        options["blank"] = True
    if default == []:
        options["default"] = list
    elif default or default is False or about.suggested:
        options["default"] = about.suggested if default is None else default
    return options
