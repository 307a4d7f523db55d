"""Faster sampling on a CPU. The engine gives the same texts without it.

`covers` says whether these functions support a tensor; otherwise the engine uses torch. CPU_KERNELS=0 in the
environment switches the package off, and so does a missing numba.

    kernels.py  the loops that numba compiles
    calls.py    their arguments: numpy's views of tensors, split over threads
    packed.py   linear layers, their weights laid out for oneDNN
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor
from transformers import PreTrainedModel

ENABLED = os.environ.get("CPU_KERNELS", "1") != "0" and find_spec("numba") is not None
TYPES = (torch.float32, torch.bfloat16)


def covers(numbers: Tensor | PreTrainedModel) -> bool:
    """Whether the compiled functions support this tensor or this model's weights."""
    return ENABLED and numbers.device.type == "cpu" and numbers.dtype in TYPES


def prepare(model: PreTrainedModel) -> None:
    """Pack a model's weights for the CPU and keep freed memory in the process. Idempotent; nothing on a GPU."""
    if ENABLED and model.device.type == "cpu":
        keep_freed_memory()
        pack(model)


__all__ = ["ENABLED", "TYPES", "Keep", "Seats", "attend", "covers", "log_sum_exp", "pack", "pick", "prepare"]

# These modules import numba.
if ENABLED:
    from models_worker.engine.cpu.calls import Keep, Seats, attend, keep_freed_memory, log_sum_exp, pick
    from models_worker.engine.cpu.packed import pack
