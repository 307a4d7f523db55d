from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

WEIGHTS = "*.safetensors"
UNSAFE_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Other files hold optimizer states and arguments.
LOADED_UNSAFE_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin")
# All other files that decide what a checkpoint writes.
SETTINGS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
ADAPTER_CONFIG = "adapter_config.json"


class LoadError(Exception):
    """The message is for the person who registered the policy."""


def find(location: str, revision: str | None, *, unsafe_weights: bool) -> tuple[Path, str]:
    """The folder of the files, and the commit if they come from the hub. Raises LoadError."""
    folder = Path(location).expanduser()
    if location and folder.is_dir():
        return folder, ""
    if not location or location.startswith((".", "/", "~")) or location.count("/") > 1:
        raise LoadError(f"There is no folder {location!r} on this worker.")
    wanted = [WEIGHTS, *SETTINGS, *(LOADED_UNSAFE_WEIGHTS if unsafe_weights else ())]
    try:
        snapshot = snapshot_download(location, revision=revision, allow_patterns=wanted)
    except RevisionNotFoundError as error:
        raise LoadError(f"The hub's {location!r} has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise LoadError(f"There is no {location!r} on the hub, or it is not open to this worker.") from error
    except LocalEntryNotFoundError as error:
        named = f"{location!r} in revision {revision!r}" if revision else repr(location)
        raise LoadError(
            f"{named} is neither a folder on this worker nor in its hub cache, and the hub cannot be reached."
        ) from error
    except HFValidationError as error:
        raise LoadError(f"{location!r} is neither a folder on this worker nor a hub id.") from error
    except OSError as error:
        raise LoadError(f"{location!r} cannot be downloaded: {error}") from error
    # The name of a snapshot's folder is its commit.
    return Path(snapshot), Path(snapshot).name


def check_model(folder: Path, location: str, *, unsafe_weights: bool) -> None:
    """Raises LoadError."""
    # Even with a config.json: transformers would load the adapter's base model from any place.
    if (folder / ADAPTER_CONFIG).exists():
        raise LoadError(f"{location!r} is an adapter. Give its base model as the checkpoint and this as the adapter.")
    _check_weights(folder, location, unsafe_weights=unsafe_weights)
    if not (folder / "config.json").exists():
        raise LoadError(f"{location!r} has weights but no config.json.")


def check_adapter(folder: Path, location: str, *, unsafe_weights: bool) -> None:
    """Raises LoadError."""
    if not (folder / ADAPTER_CONFIG).exists():
        raise LoadError(f"{location!r} is no adapter: it has no {ADAPTER_CONFIG}.")
    _check_weights(folder, location, unsafe_weights=unsafe_weights)


def checkpoint_sha256(folder: Path) -> str:
    whole = sha256()
    for path in sorted(_matching(folder, (*weight_patterns(folder), *SETTINGS)), key=lambda path: path.name):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def weight_patterns(folder: Path) -> Sequence[str]:
    """Safetensors if there are any."""
    return (WEIGHTS,) if any(folder.glob(WEIGHTS)) else LOADED_UNSAFE_WEIGHTS


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in _matching(folder, weight_patterns(folder)))


def _check_weights(folder: Path, location: str, *, unsafe_weights: bool) -> None:
    if any(folder.glob(WEIGHTS)):
        return
    if unsafe_weights and _matching(folder, LOADED_UNSAFE_WEIGHTS):
        return
    if not unsafe_weights and _matching(folder, UNSAFE_WEIGHTS):
        raise LoadError(
            f"{location!r} has its weights in a format that can run code when it is loaded. Save them as safetensors."
        )
    raise LoadError(f"{location!r} holds no weights (no .safetensors file).")


def _matching(folder: Path, patterns: Sequence[str]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern)}
