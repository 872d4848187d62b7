"""Checkpoints as bytes: only tensors and plain values, loaded with `weights_only`."""

from __future__ import annotations

import io
from typing import Any

import torch


def to_bytes(state: dict[str, Any]) -> bytes:
    """Serialises a state of tensors, numbers, strings, lists and dicts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, Any]:
    """Loads a state on the CPU; never runs code from the file.

    Raises:
        ValueError: the bytes are not a complete checkpoint.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises many types for damaged files
        raise ValueError(f"not a readable checkpoint: {type(error).__name__}") from error
    if not isinstance(state, dict):
        raise ValueError("not a checkpoint of this trainer")
    return state
