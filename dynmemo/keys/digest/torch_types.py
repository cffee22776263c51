"""torch: tensors in the memory of the processor, by dtype, shape and every element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from blake3 import blake3

from dynmemo.keys.digest.code import type_within
from dynmemo.keys.digest.node import typed
from dynmemo.keys.digest.refusal import Refusal

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a tensor or dtype; modules and optimizers are plain objects."""
    if issubclass(cls, torch.Tensor):
        return _tensor_handler(cls)
    if cls in {torch.dtype, torch.device, torch.Size}:
        return lambda value: typed(b"torch", cls.__name__, (str(value),))
    return None


def _tensor_handler(cls: type) -> Handler:
    head = type_within(cls, "torch")

    def take_apart(tensor: Any) -> Node:
        if tensor.device.type != "cpu":
            raise Refusal(cls, f"a tensor on the device {tensor.device.type}, which is not read", "Pass tensor.cpu()")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise Refusal(cls, "a sparse or quantized tensor, which is not read", "Pass tensor.to_dense()")
        content = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        extra = (head, tuple(tensor.shape), bool(tensor.requires_grad), blake3(content.numpy()).digest())
        return typed(b"tensor", str(tensor.dtype), extra)

    return take_apart
