"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOMENTUM = 0.95
ITERATIONS = 5
# Of the odd polynomial a x + b x^3 + c x^5, chosen so that small singular values rise quickly: a
# few iterations bring all of them to about 1 (0.7 to 1.2), which is near enough.
POLYNOMIAL = 3.4445, -4.7750, 2.0315


def muon_update(gradient: Tensor, momentum: Tensor) -> Tensor:
    """The step of a weight for a learning rate of 1.

    Args:
        gradient: (K, ...), of a linear layer or of a convolution with K filters.
        momentum: the running mean of gradients, of that shape; it is brought up to date.

    Returns:
        The same shape, as a (K, rest) matrix with singular values of about 1, times
        sqrt(K / rest) where it is taller than wide.
    """
    momentum.lerp_(gradient, 1 - MOMENTUM)
    matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
    rows, columns = matrix.shape
    return orthogonalised(matrix).mul(math.sqrt(max(1.0, rows / columns))).view_as(gradient)


def orthogonalised(matrix: Tensor) -> Tensor:
    """U V^T, nearly, of a matrix U S V^T, by Newton and Schulz's iteration."""
    a, b, c = POLYNOMIAL
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x: Tensor = wide / (torch.linalg.vector_norm(wide) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if len(matrix) > matrix.shape[1] else x
