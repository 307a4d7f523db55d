"""Linear layers on a CPU, with weights in the layout of oneDNN.

torch converts weights for every product, which takes a fifth of the time with the few rows of a decoding step.
"""

import logging
from functools import partial
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from models_worker.engine.arena import vocabulary
from models_worker.engine.reading import of_asked

log = logging.getLogger(__name__)


_tried = WeakSet[PreTrainedModel]()


def pack(model: PreTrainedModel) -> None:
    """Replace the weights of the model's linear layers by packed ones. Idempotent.

    The change is undone if the logits of a short test differ: some models use their weights for more than products.
    """
    if model in _tried or model.device.type != "cpu" or not _multiplies(model.dtype):
        return
    _tried.add(model)
    # Subclasses, and layers with a replaced forward, compute something else.
    layers = [
        layer
        for layer in model.modules()
        if type(layer) is nn.Linear and "forward" not in vars(layer) and layer.weight.dtype == model.dtype
    ]
    agrees = False
    try:
        before = _logits(model)
        for layer in layers:
            _pack(layer, model)
        agrees = bool((_logits(model) - before).abs().mean() <= 0.1 * before.std())
    except Exception as error:
        # A model's code may fail in any way with packed weights.
        log.info("The weights of this model stay as they are: %s", error)
    finally:
        if not agrees:
            for layer in layers:
                _unpack(layer)


def _multiplies(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def _pack(layer: nn.Linear, model: PreTrainedModel) -> None:
    # Weights shared with the embeddings stay plain, or they would be in memory twice.
    if layer.weight is not getattr(model.get_input_embeddings(), "weight", None):
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        layer.weight = nn.Parameter(packed, requires_grad=False)
        # Compiles the way back while there is memory for it.
        packed.to_dense()
    layer.forward = partial(of_asked, partial(_product, layer))  # type: ignore[method-assign]


@torch.no_grad()
def _unpack(layer: nn.Linear) -> None:
    if layer.weight.is_mkldnn:
        layer.weight = nn.Parameter(layer.weight.to_dense(), requires_grad=False)
    vars(layer).pop("forward", None)


def _product(layer: nn.Linear, numbers: Tensor) -> Tensor:
    try:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(numbers, layer.weight, layer.bias, "none", [], "")
    except RuntimeError as error:
        # If compiling for a number of rows ran out of memory once, oneDNN never tries again.
        log.warning("A layer is computed without oneDNN from now on: %s", error)
        _unpack(layer)
        layer.forward = partial(_in_float32, layer)  # type: ignore[method-assign]
        found = layer(numbers)
    return found


def _in_float32(layer: nn.Linear, numbers: Tensor) -> Tensor:
    """torch's product uses oneDNN except for float32."""
    bias = None if layer.bias is None else layer.bias.float()
    return functional.linear(numbers.float(), layer.weight.float(), bias).to(numbers.dtype)


@torch.inference_mode()
def _logits(model: PreTrainedModel) -> Tensor:
    tokens = torch.tensor([[5, 6, 7, 8]]) % vocabulary(model)
    logits: Tensor = model(input_ids=tokens).logits[0, -1].float()
    return logits
