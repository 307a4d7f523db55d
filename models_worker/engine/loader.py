import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from models_worker.engine import checkpoint, placement
from models_worker.engine.adapters import Adapted, adapt
from models_worker.engine.chat import (
    ChatError,
    Message,
    RenderedPrompt,
    Template,
    check_template,
    choose_template,
    render,
    turn_end_ids,
)
from models_worker.engine.checkpoint import LoadError, checkpoint_sha256


@dataclass(frozen=True)
class Wanted:
    location: str
    revision: str | None
    adapter: str
    adapter_revision: str | None
    dtype: str
    quantisation: str
    chat_template: str
    # As JSON, to be hashable.
    examples: str
    unsafe_weights: bool
    device: str | None


@dataclass(frozen=True)
class LoadedAdapter:
    """kind: peft's name. revision: commit of a hub id, "" for a folder. peft: version of the library."""

    location: str
    revision: str
    sha256: str
    kind: str
    peft: str


@dataclass(frozen=True)
class LoadedPolicy:
    """revision: commit of a hub id, "" for a folder. checkpoint_sha256: hexadecimal, of weights, configuration and
    tokenizer, without the adapter. end_ids: tokens that end an answer. max_model_len: maximum tokens of prompt and
    answer, None if unknown.
    """

    location: str
    revision: str
    checkpoint_sha256: str
    adapter: LoadedAdapter | None
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    examples: tuple[Message, ...]
    end_ids: frozenset[int]
    max_model_len: int | None
    dtype: str
    quantisation: str
    device: str

    def render(self, messages: Sequence[Message], *, max_new_tokens: int) -> RenderedPrompt:
        """Raises chat.ChatError."""
        return render(
            messages,
            tokenizer=self.tokenizer,
            template=self.template,
            max_model_len=self.max_model_len,
            max_new_tokens=max_new_tokens,
            examples=self.examples,
        )

    @property
    def adapter_sha256(self) -> str:
        return self.adapter.sha256 if self.adapter else ""

    @property
    def provenance(self) -> dict[str, str]:
        """Facts that hold for every sample."""
        known = {
            "checkpoint_sha256": self.checkpoint_sha256,
            "revision": self.revision,
            "dtype": self.dtype,
            "quantisation": self.quantisation,
            "device": _device_names(self.model, self.device),
            "torch": str(torch.__version__),
            "transformers": str(transformers.__version__),
            "template": self.template.name,
            "template_sha256": self.template.sha256,
        }
        if self.adapter:
            known |= {
                "adapter_sha256": self.adapter.sha256,
                "adapter_revision": self.adapter.revision,
                "adapter_kind": self.adapter.kind,
                "peft": self.adapter.peft,
            }
        if self.quantisation in placement.BITS:
            known["bitsandbytes"] = version("bitsandbytes")
        if self.examples:
            known["examples_sha256"] = sha256(_as_json(self.examples).encode()).hexdigest()
        return known


_loaded: dict[Wanted, LoadedPolicy] = {}
_lock = Lock()


def load_policy(
    location: str,
    *,
    revision: str | None = None,
    adapter: str = "",
    adapter_revision: str | None = None,
    dtype: str = "auto",
    quantisation: str = placement.UNQUANTISED,
    chat_template: str = "",
    examples: Sequence[Message] = (),
    unsafe_weights: bool = False,
    device: str | None = None,
) -> LoadedPolicy:
    """Load a policy from a folder, the local cache of the hub, or the hub. Raises LoadError.

    adapter: folder or hub id. dtype: "auto" (float32 on a CPU, bfloat16 on a GPU), "float32", "bfloat16" or "float16".
    quantisation: "none", "int8" or "nf4". chat_template: replaces the tokenizer's; Jinja or "plain-v1". examples:
    messages before every prompt. device: "cpu", "cuda" or "cuda:1"; None takes the first GPU, or all for a large
    policy. Reads only safetensors unless `unsafe_weights`. Never runs code of the checkpoint.

    The process keeps the last policy, and frees it before it loads another one.
    """
    wanted = Wanted(
        location=location,
        revision=revision,
        adapter=adapter,
        adapter_revision=adapter_revision,
        dtype=dtype,
        quantisation=quantisation,
        chat_template=chat_template,
        examples=_as_json(examples),
        unsafe_weights=unsafe_weights,
        device=device,
    )
    with _lock:
        if wanted not in _loaded:
            _loaded.clear()
            _loaded[wanted] = _load(wanted, tuple(dict(message) for message in examples))
        return _loaded[wanted]


def forget_policies() -> None:
    with _lock:
        _loaded.clear()


def _load(wanted: Wanted, examples: tuple[Message, ...]) -> LoadedPolicy:
    # First everything that can fail without reading weights.
    device = placement.device_of(wanted.device)
    dtype = placement.dtype_of(wanted.dtype, device)
    quantisation = placement.quantisation_of(wanted.quantisation, dtype)
    folder, commit = checkpoint.find(wanted.location, wanted.revision, unsafe_weights=wanted.unsafe_weights)
    checkpoint.check_model(folder, wanted.location, unsafe_weights=wanted.unsafe_weights)
    adapter_folder, adapter_commit = _adapter_files(wanted)
    # Keeps progress bars out of the log.
    transformers.utils.logging.disable_progress_bar()
    tokenizer, template = _tokenizer(wanted, folder, adapter_folder, examples)
    model = _model(wanted, folder, dtype, device, quantisation)
    end_ids = _end_ids(model, tokenizer) | turn_end_ids(tokenizer, template)
    # Without the checkpoint's sampling defaults (top-k, penalties), which no completion would record.
    model.generation_config = GenerationConfig(pad_token_id=0)
    max_model_len = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    stored_as = _stored_quantisation(model)
    adapter = None
    if adapter_folder:
        adapted = adapt(
            model, adapter_folder, wanted.adapter, device=device, quantised=stored_as != "none", guarded=_guarded
        )
        model, adapter = adapted.model, _loaded_adapter(wanted.adapter, adapter_folder, adapter_commit, adapted)
        if max_model_len is not None:
            max_model_len -= adapted.virtual_tokens
    return LoadedPolicy(
        location=wanted.location,
        revision=commit,
        checkpoint_sha256=checkpoint_sha256(folder),
        adapter=adapter,
        model=model,
        tokenizer=tokenizer,
        template=template,
        examples=examples,
        end_ids=end_ids,
        max_model_len=max_model_len,
        dtype=str(dtype).removeprefix("torch."),
        quantisation=wanted.quantisation if quantisation else stored_as,
        device=str(device),
    )


def _adapter_files(wanted: Wanted) -> tuple[Path | None, str]:
    if not wanted.adapter:
        return None, ""
    folder, commit = checkpoint.find(wanted.adapter, wanted.adapter_revision, unsafe_weights=wanted.unsafe_weights)
    checkpoint.check_adapter(folder, wanted.adapter, unsafe_weights=wanted.unsafe_weights)
    return folder, commit


def _loaded_adapter(location: str, folder: Path, commit: str, adapted: Adapted) -> LoadedAdapter:
    return LoadedAdapter(
        location=location, revision=commit, sha256=checkpoint_sha256(folder), kind=adapted.kind, peft=adapted.peft
    )


def _tokenizer(
    wanted: Wanted, folder: Path, adapter: Path | None, examples: Sequence[Message]
) -> tuple[PreTrainedTokenizerBase, Template]:
    # Trainers save the tokenizer with its chat template beside an adapter.
    own = adapter is not None and (adapter / "tokenizer_config.json").exists()
    place, location = (adapter, wanted.adapter) if own else (folder, wanted.location)
    tokenizer = _guarded(
        location, lambda: AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    )
    template = choose_template(tokenizer, wanted.chat_template)
    try:
        check_template(tokenizer, template, examples)
    except ChatError as error:
        raise LoadError(f"Prompts cannot be put to {wanted.location!r}: {error}") from error
    return tokenizer, template


def _model(
    wanted: Wanted,
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    quantisation: transformers.BitsAndBytesConfig | None,
) -> PreTrainedModel:
    location = wanted.location
    config = _guarded(location, lambda: AutoConfig.from_pretrained(folder, trust_remote_code=False))
    if quantisation and getattr(config, "quantization_config", None):
        raise LoadError(f"{location!r} is stored quantised already. Choose no quantisation for it.")
    model, report = _guarded(
        location,
        lambda: AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map=placement.device_map(folder, wanted.device, device, wanted.quantisation),
            # Even None would override the checkpoint's own setting.
            **({"quantization_config": quantisation} if quantisation else {}),
            local_files_only=True,
            use_safetensors=None if wanted.unsafe_weights else True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        ),
    )
    # transformers only warns, and fills missing weights with random numbers.
    if missing := sorted(report["missing_keys"]):
        raise LoadError(f"{location!r} is incomplete. Missing weights: {_some(missing)}.")
    if misfits := sorted(name for name, *_shapes in report["mismatched_keys"]):
        raise LoadError(f"The config.json of {location!r} does not fit these weights: {_some(misfits)}.")
    loaded: PreTrainedModel = model.eval()
    return loaded


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _guarded(location: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LoadError(f"{location!r} cannot be loaded: {reason}") from error


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    named = model.generation_config.eos_token_id if model.generation_config else None
    several = named if isinstance(named, list) else [named]
    return frozenset(each for each in [*several, tokenizer.eos_token_id] if each is not None)


def _stored_quantisation(model: PreTrainedModel) -> str:
    """The method, or "none" for plain weights."""
    config: Any = getattr(model.config, "quantization_config", None)
    method = config.get("quant_method") if isinstance(config, dict) else getattr(config, "quant_method", None)
    return str(getattr(method, "value", method) or placement.UNQUANTISED)


def _device_names(model: PreTrainedModel, device: str) -> str:
    """A policy may be spread over several devices."""
    return ", ".join(dict.fromkeys(_device_name(each) for each in placement.devices(model) or [device]))


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device != "cpu":
        return device
    return platform.processor() or platform.machine()


def _as_json(messages: Sequence[Message]) -> str:
    return json.dumps([dict(message) for message in messages], sort_keys=True)
