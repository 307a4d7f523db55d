"""Faster arithmetic for sampling on a CPU, behind one entry point.

The engine gives the same texts without it. `covers` says whether these functions compute on a tensor; where it says no,
on a GPU or in another type, the engine uses torch. CPU_KERNELS=0 in the environment, or no numba, switches it off, for
reading the engine without it and for machines that cannot compile.

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
# What can be computed on: float32, and bfloat16 through its bits.
TYPES = (torch.float32, torch.bfloat16)


def covers(numbers: Tensor | PreTrainedModel) -> bool:
    """Do the compiled functions compute on this tensor, or with this model's weights?"""
    return ENABLED and numbers.device.type == "cpu" and numbers.dtype in TYPES


def prepare(model: PreTrainedModel) -> None:
    """Lay a model's weights out for the CPU, once, and keep freed memory in the process. Nothing for other devices."""
    if ENABLED and model.device.type == "cpu":
        keep_freed_memory()
        pack(model)


__all__ = ["ENABLED", "TYPES", "Keep", "Seats", "attend", "covers", "log_sum_exp", "pack", "pick", "prepare"]

# What follows imports numba.
if ENABLED:
    from models_worker.engine.cpu.calls import Keep, Seats, attend, keep_freed_memory, log_sum_exp, pick
    from models_worker.engine.cpu.packed import pack
