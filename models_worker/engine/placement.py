import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from models_worker.engine.checkpoint import LoadError, weight_bytes

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

UNQUANTISED = "none"
BITS = {"int8": 8, "nf4": 4}

# Share of a GPU's memory for keys and values and for computing.
FREE_SHARE = 0.2

# Devices by module. "auto": accelerate chooses them.
DeviceMap = str | dict[str, torch.device]


def device_of(wanted: str | None) -> torch.device:
    """Raises LoadError."""
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"This worker has no device {wanted!r}.") from error
    return device


def dtype_of(wanted: str, device: torch.device) -> torch.dtype:
    """Raises LoadError."""
    if wanted == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if wanted not in DTYPES:
        raise LoadError(f"There is no dtype {wanted!r}; it can be auto, {', '.join(DTYPES)}.")
    return DTYPES[wanted]


def quantisation_of(wanted: str, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """None for weights as they are. Raises LoadError."""
    if wanted == UNQUANTISED:
        return None
    if wanted not in BITS:
        raise LoadError(f"There is no quantisation {wanted!r}; it can be {UNQUANTISED}, {', '.join(BITS)}.")
    if find_spec("bitsandbytes") is None:
        raise LoadError(f"Quantisation to {wanted} needs the package bitsandbytes, which this worker does not have.")
    # On a CPU it logs a warning for every layer and step.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if wanted == "int8":
        # No outliers in full precision: the whole batch decides which, so a text would depend on it.
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def device_map(folder: Path, wanted: str | None, device: torch.device, quantisation: str) -> DeviceMap:
    """One device, unless the weights are too large for the first of several GPUs."""
    if wanted or device.type != "cuda" or torch.cuda.device_count() < 2:
        return {"": device}
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    # Assumes 16 bits; a checkpoint of 32 bits is spread sooner than necessary.
    needed = weight_bytes(folder) * BITS.get(quantisation, 16) // 16
    return "auto" if must_be_spread(needed, free) else {"": device}


def devices(model: PreTrainedModel) -> list[str]:
    """Empty for one device."""
    by_module = getattr(model, "hf_device_map", None) or {}
    places = list(dict.fromkeys(by_module.values()))
    return [f"cuda:{place}" if isinstance(place, int) else str(place) for place in places] if len(places) > 1 else []


def must_be_spread(needed: int, free: Sequence[int]) -> bool:
    """In bytes. free: memory of each GPU."""
    return needed > (1 - FREE_SHARE) * free[0]
