"""Loading a policy from a folder or a hub id, and knowing exactly what was loaded."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from models_worker.engine.chat import Message, RenderedPrompt, Template, choose_template, render, turn_end_ids

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

WEIGHTS = "*.safetensors"
UNSAFE_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Everything that decides what a checkpoint writes, in whatever of these forms it comes.
CHECKPOINT_FILES = (WEIGHTS, "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")


class LoadError(Exception):
    """A policy cannot be loaded; the message is for the person who registered it."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy in memory.

    revision: the commit of a hub id, "" for a folder. checkpoint_sha256: hexadecimal, of the weights, configuration
    and tokenizer files. end_ids: tokens that end an answer. max_model_len: tokens of prompt and answer together,
    None if the configuration does not say.
    """

    location: str
    revision: str
    checkpoint_sha256: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    end_ids: frozenset[int]
    max_model_len: int | None
    dtype: str
    device: str

    def render(self, messages: Sequence[Message], *, max_new_tokens: int) -> RenderedPrompt:
        """Raises chat.ChatError."""
        return render(
            messages,
            tokenizer=self.tokenizer,
            template=self.template,
            max_model_len=self.max_model_len,
            max_new_tokens=max_new_tokens,
        )

    @property
    def provenance(self) -> dict[str, str]:
        """What else one must know to sample the same text again."""
        return {
            "checkpoint_sha256": self.checkpoint_sha256,
            "revision": self.revision,
            "dtype": self.dtype,
            "device": _device_name(self.device),
            "torch": str(torch.__version__),
            "transformers": str(transformers.__version__),
            "template": self.template.name,
            "template_sha256": self.template.sha256,
        }


_Key = tuple[str, str | None, str, str, str | None]
_loaded: dict[_Key, LoadedPolicy] = {}
_lock = Lock()


def load_policy(
    location: str,
    *,
    dtype: str = "auto",
    revision: str | None = None,
    chat_template: str = "",
    device: str | None = None,
) -> LoadedPolicy:
    """Load a policy from a folder, or from the hub's local cache or the hub itself; raises LoadError.

    dtype: "auto" (float32 on a CPU, bfloat16 on a GPU), "float32", "bfloat16" or "float16". revision: of a hub id.
    chat_template: Jinja in place of the tokenizer's own. device: "cpu", "cuda" or "cuda:1"; None takes the first GPU
    there is. Weights are read from safetensors only, and no code of the checkpoint is run.

    The process keeps the last policy it loaded: asked for again it is there at once, asked for another it lets go of
    the first before it loads.
    """
    key = (location, revision, dtype, chat_template, device)
    with _lock:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = _load(location, dtype, revision, chat_template, device)
        return _loaded[key]


def forget_policies() -> None:
    """Let go of the policy this process keeps, so that its memory is freed."""
    with _lock:
        _loaded.clear()


def checkpoint_sha256(folder: Path) -> str:
    """One hash over the names and contents of a checkpoint's files, in the order of their names."""
    whole = sha256()
    for path in sorted({path for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)}, key=lambda p: p.name):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _load(location: str, dtype: str, revision: str | None, chat_template: str, device: str | None) -> LoadedPolicy:
    place = _device(device)
    number_type = _dtype(dtype, place)
    folder, commit = _folder(location, revision)
    _check_files(folder, location)
    # A worker's log is no place for bars.
    transformers.utils.logging.disable_progress_bar()
    tokenizer = _guarded(
        location, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    )
    template = choose_template(tokenizer, chat_template)
    model = _model(location, folder, number_type, place)
    end_ids = _end_ids(model, tokenizer) | turn_end_ids(tokenizer, template)
    # The checkpoint's own sampling defaults (top-k, penalties) would act unseen: what is recorded is what is done.
    model.generation_config = GenerationConfig(pad_token_id=0)
    return LoadedPolicy(
        location=location,
        revision=commit,
        checkpoint_sha256=checkpoint_sha256(folder),
        model=model,
        tokenizer=tokenizer,
        template=template,
        end_ids=end_ids,
        max_model_len=getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None),
        dtype=str(number_type).removeprefix("torch."),
        device=str(place),
    )


def _device(wanted: str | None) -> torch.device:
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"This worker has no device {wanted!r}.") from error
    return device


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if wanted not in DTYPES:
        raise LoadError(f"There is no dtype {wanted!r}; it can be auto, {', '.join(DTYPES)}.")
    return DTYPES[wanted]


def _folder(location: str, revision: str | None) -> tuple[Path, str]:
    """Where the files lie, and the commit if they come from the hub."""
    folder = Path(location).expanduser()
    if location and folder.is_dir():
        return folder, ""
    if not location or location.startswith((".", "/", "~")) or location.count("/") > 1:
        raise LoadError(f"There is no folder {location!r} on this worker.")
    try:
        snapshot = snapshot_download(location, revision=revision, allow_patterns=list(CHECKPOINT_FILES))
    except RevisionNotFoundError as error:
        raise LoadError(f"The hub's {location!r} has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise LoadError(f"There is no {location!r} on the hub, or it is not open to this worker.") from error
    except LocalEntryNotFoundError as error:
        wanted = f"{location!r} in revision {revision!r}" if revision else repr(location)
        raise LoadError(
            f"{wanted} is neither a folder on this worker nor in its hub cache, and the hub cannot be reached."
        ) from error
    except HFValidationError as error:
        raise LoadError(f"{location!r} is neither a folder on this worker nor a hub id.") from error
    except OSError as error:
        raise LoadError(f"{location!r} cannot be downloaded: {error}") from error
    # The cache names a snapshot's folder after its commit.
    return Path(snapshot), Path(snapshot).name


def _check_files(folder: Path, location: str) -> None:
    if not any(folder.glob(WEIGHTS)):
        if any(path for pattern in UNSAFE_WEIGHTS for path in folder.glob(pattern)):
            raise LoadError(
                f"{location!r} has its weights in a format that can run code when it is loaded. "
                "Save them as safetensors."
            )
        raise LoadError(f"{location!r} holds no weights (no .safetensors file).")
    if (folder / "adapter_config.json").exists():
        raise LoadError(f"{location!r} is an adapter, not a whole model. Merge it into its base model and save that.")
    if not (folder / "config.json").exists():
        raise LoadError(f"{location!r} has weights but no config.json.")


def _model(location: str, folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    model, report = _guarded(
        location,
        lambda: AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        ),
    )
    # transformers fills in with random numbers what is missing or does not fit, and only warns.
    if missing := sorted(report["missing_keys"]):
        raise LoadError(f"{location!r} is incomplete. Missing weights: {_some(missing)}.")
    if misfits := sorted(name for name, *_shapes in report["mismatched_keys"]):
        raise LoadError(f"The config.json of {location!r} does not fit these weights: {_some(misfits)}.")
    moved: PreTrainedModel = _guarded(location, lambda: model.to(device).eval())
    return moved


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


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
