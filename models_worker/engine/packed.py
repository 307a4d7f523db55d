"""Linear layers on a CPU, their weights laid out as oneDNN multiplies them.

torch lays the weights of a product out anew each time. For the few rows that a step of decoding has, that is a fifth of
the product's time. Here it is done once.
"""

import logging
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from models_worker.engine.arena import vocabulary

log = logging.getLogger(__name__)


def pack(model: PreTrainedModel) -> None:
    """Lay the model's weights out for its products, where that serves: in place of the plain ones, not beside them.

    Asked again it does nothing. A model whose code does more with its weights than multiply by them keeps them as they
    are: as in `arena.kv_shapes` that is tried.
    """
    if model.device.type != "cpu" or not _multiplies(model.dtype):
        return
    # A subclass of a linear layer has another way to multiply.
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and _is_plain(layer, model)]
    if not layers:
        return
    before = _logits(model)
    try:
        for layer in layers:
            _pack(layer)
        after = _logits(model)
        agrees = bool((after - before).abs().mean() <= 0.1 * before.std())
    except Exception as error:
        # A model's own code ran with weights that it may not expect, and may fail in any way.
        log.info("The weights of this model stay as they are: %s", error)
        agrees = False
    if not agrees:
        for layer in layers:
            _unpack(layer)


def _multiplies(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_plain(layer: nn.Linear, model: PreTrainedModel) -> bool:
    # One with a forward of its own has been changed by somebody, or is packed.
    if "forward" in vars(layer):
        return False
    embeddings = model.get_input_embeddings()
    # The embeddings' weights are looked up too, and would be there twice.
    return layer.weight.dtype == model.dtype and layer.weight is not getattr(embeddings, "weight", None)


@torch.no_grad()
def _pack(layer: nn.Linear) -> None:
    packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
    # The way back is compiled now, while there is memory for it.
    packed.to_dense()
    layer.weight = nn.Parameter(packed, requires_grad=False)
    layer.forward = partial(_product, layer)  # type: ignore[method-assign]


@torch.no_grad()
def _unpack(layer: nn.Linear) -> None:
    if layer.weight.is_mkldnn:
        layer.weight = nn.Parameter(layer.weight.to_dense(), requires_grad=False)
        vars(layer).pop("forward", None)


def _product(layer: nn.Linear, numbers: Tensor) -> Tensor:
    try:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(numbers, layer.weight, layer.bias, "none", [], "")
    except RuntimeError as error:
        # Where there was no memory to compile for this many rows, oneDNN does not try again when there is.
        log.warning("A layer is computed without oneDNN from now on: %s", error)
        _unpack(layer)
        layer.forward = partial(_in_float32, layer)  # type: ignore[method-assign]
        found = layer(numbers)
    return found


def _in_float32(layer: nn.Linear, numbers: Tensor) -> Tensor:
    """torch's own product is oneDNN's too, except of float32."""
    bias = None if layer.bias is None else layer.bias.float()
    return functional.linear(numbers.float(), layer.weight.float(), bias).to(numbers.dtype)


@torch.inference_mode()
def _logits(model: PreTrainedModel) -> Tensor:
    tokens = torch.tensor([[5, 6, 7, 8]]) % vocabulary(model)
    logits: Tensor = model(input_ids=tokens).logits[0, -1].float()
    return logits
