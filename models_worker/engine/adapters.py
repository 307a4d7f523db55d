from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from models_worker.engine.checkpoint import LoadError

# Kinds that can be merged into the weights, so that the model is as fast as without them.
MERGED = frozenset(
    "LORA ADALORA LOHA LOKR IA3 OFT BOFT VERA HRA MISS FOURIERFT TRAINABLE_TOKENS".split(),
)
# It refers to further adapters and would load them from any place.
REFUSED = frozenset({"XLORA"})

# loader._guarded: turns errors of loading into LoadError.
Guarded = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Adapted:
    """kind: peft's name. virtual_tokens: number of tokens that it adds before every prompt."""

    model: PreTrainedModel
    kind: str
    virtual_tokens: int
    peft: str


def adapt(
    model: PreTrainedModel,
    folder: Path,
    location: str,
    *,
    device: torch.device,
    quantised: bool,
    guarded: Guarded,
) -> Adapted:
    """Change the model. Raises LoadError.

    Merged if possible, but not into quantised weights: rounding would change what the adapter learned.
    """
    try:
        import peft
    except ImportError as error:
        raise LoadError(f"{location!r} needs the package peft, which this worker does not have.") from error

    config = guarded(location, lambda: peft.PeftConfig.from_pretrained(str(folder)))
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind in REFUSED:
        raise LoadError(f"{location!r} is an adapter of the kind {kind}, which is not loaded here.")
    guarded(location, lambda: _make_room_for_new_tokens(model, folder, location))
    adapted = guarded(location, lambda: peft.PeftModel.from_pretrained(model, str(folder), torch_device=str(device)))
    _check_fit(adapted, folder, location, device, guarded)
    adapted.eval()
    if config.is_prompt_learning:
        return Adapted(cast(PreTrainedModel, adapted), kind, int(config.num_virtual_tokens), peft.__version__)
    if kind in MERGED and not quantised and not _ties_would_break(adapted.get_base_model()):
        merged = guarded(location, lambda: adapted.merge_and_unload(safe_merge=True))
        return Adapted(cast(PreTrainedModel, merged).eval(), kind, 0, peft.__version__)
    return Adapted(cast(PreTrainedModel, adapted.get_base_model()), kind, 0, peft.__version__)


def _check_fit(adapted: Any, folder: Path, location: str, device: torch.device, guarded: Guarded) -> None:
    """Where peft only warns, raise LoadError: it fills missing weights with random numbers and ignores surplus ones."""
    config = adapted.active_peft_config
    report = guarded(location, lambda: adapted.load_adapter(str(folder), "default", torch_device=str(device)))
    # Virtual tokens are always reported as unexpected, because they are outside the model.
    surplus = [] if config.is_prompt_learning else sorted(report.unexpected_keys)
    if misfits := sorted(report.missing_keys) + surplus:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise LoadError(
            f"The adapter {location!r} does not fit this checkpoint: {', '.join(misfits[:3])}{more}. "
            "Was it trained on another one?"
        )


def _make_room_for_new_tokens(model: PreTrainedModel, folder: Path, location: str) -> None:
    """Trainers that add tokens save the larger embeddings and output layer with the adapter."""
    ends = {id(end): end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None}
    names = [name for name, module in model.named_modules() if id(module) in ends]
    saved = _shapes(folder)
    rows = {name: saved[key][0] for name in names if (key := f"base_model.model.{name}.weight") in saved}
    has = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
    most = max(rows.values(), default=has)
    if most <= has:
        return
    tied = bool(getattr(model.config.get_text_config(decoder=True), "tie_word_embeddings", False))
    if len(rows) < (1 if tied else len(names)):
        missing = ", ".join(name for name in names if name not in rows)
        raise LoadError(f"The adapter {location!r} has tokens that the checkpoint lacks, but no weights for {missing}.")
    model.resize_token_embeddings(most, mean_resizing=False)


def _shapes(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            found |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    return found


def _ties_would_break(model: PreTrainedModel) -> bool:
    """Merging an adapter of one of two layers that share weights would change the other layer too."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    weights = [getattr(getattr(layer, "base_layer", layer), "weight", None) for layer in layers]
    return weights[0] is weights[1] and any(isinstance(layer, BaseTunerLayer) for layer in layers)
