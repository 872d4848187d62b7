"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): orthogonalised momentum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOMENTUM = 0.95
ITERATIONS = 5
# Coefficients of the odd polynomial a x + b x^3 + c x^5, chosen so that small singular values grow
# quickly: a few iterations bring all of them to 0.7 to 1.2, which is close enough to 1.
POLYNOMIAL = 3.4445, -4.7750, 2.0315


def muon_update(gradient: Tensor, momentum: Tensor) -> Tensor:
    """Update of a weight for a learning rate of 1.

    Args:
        gradient: (K, ...), of a linear layer or of a convolution with K filters.
        momentum: moving average of gradients, of the same shape; updated in place.

    Returns:
        The same shape: a (K, rest) matrix with singular values of about 1, multiplied by
        sqrt(K / rest) if K > rest.
    """
    momentum.lerp_(gradient, 1 - MOMENTUM)
    matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov momentum
    rows, columns = matrix.shape
    return orthogonalised(matrix).mul(math.sqrt(max(1.0, rows / columns))).view_as(gradient)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Approximately U V^T of a matrix U S V^T, by the Newton-Schulz iteration."""
    a, b, c = POLYNOMIAL
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x: Tensor = wide / (torch.linalg.vector_norm(wide) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if len(matrix) > matrix.shape[1] else x
