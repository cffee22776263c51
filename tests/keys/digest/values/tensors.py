from __future__ import annotations

import torch

TABLE = torch.arange(6.0).reshape(2, 3)


def different() -> dict[str, object]:
    return {
        "tensor": TABLE,
        "transposed": TABLE.T,
        "flat": TABLE.reshape(-1),
        "other element": TABLE + 1,
        "of doubles": TABLE.double(),
        "of halves": TABLE.to(torch.bfloat16),
        "of ints": TABLE.long(),
        "of booleans": TABLE > 1,
        "complex": TABLE.to(torch.complex64),
        "number": torch.tensor(1.0),
        "empty": torch.zeros(0),
        "to be learned": TABLE.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(TABLE.clone()),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
    }


def equal() -> dict[str, tuple[object, ...]]:
    wave = TABLE.to(torch.complex64) * 1j
    return {
        "views": (TABLE[:, ::2], TABLE[:, ::2].clone()),
        "conjugated": (wave.conj(), wave.conj().resolve_conj()),
    }
