"""Grid generators: theta -> the source position of each output pixel (section 3.2 of the paper).

Except for the projective division, all are linear in theta. So everything that does not depend on
theta is a buffer, computed once in float64, and one matrix product maps a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from stn_cluster.stn.tracing import traced

Size = tuple[int, int]  # height, width in pixels

# Least absolute value of a projective denominator; smaller ones are clamped to it (the sign is
# kept), so that points near the horizon are far outside the image, but finite, with finite
# gradients.
HORIZON = 1e-3
# Standard deviations of a mild jitter, in units of half an image: about 6 % of a radian or of the
# size, and less than a pixel of 28.
MATRIX_JITTER, SHIFT_JITTER, PERSPECTIVE_JITTER, POINT_JITTER = 0.08, 0.05, 0.03, 0.04


def pixel_centres(size: Size, dtype: torch.dtype = torch.float64) -> Tensor:
    """Regular grid G: (H * W, 2), the (x, y) of each pixel's centre, row by row."""
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"a grid has at least one pixel each way, not {height}x{width}")
    x = (2 * torch.arange(width, dtype=torch.float64) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=torch.float64) + 1) / height - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(dtype)


def is_low_precision(tensor: Tensor) -> bool:
    """Whether a tensor is bfloat16 or float16."""
    return tensor.dtype in (torch.bfloat16, torch.float16)


def at_least_float32(tensor: Tensor) -> Tensor:
    """A tensor of floating point numbers, as float32 if they have less precision."""
    return tensor.float() if is_low_precision(tensor) else tensor


def homogeneous(points: Tensor) -> Tensor:
    """(..., 2) -> (..., 3) with a last coordinate of 1."""
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)


def affine_basis(points: Tensor) -> Tensor:
    """(K, 3), homogeneous -> (6, 2 K): a 2x3 matrix, row by row, times this maps all points."""
    return torch.einsum("km,cd->cmkd", points, torch.eye(2).to(points)).reshape(6, -1)


def homography(matrix: Tensor, basis: Tensor) -> Tensor:
    """Maps points by a homography.

    Args:
        matrix: (N, 9), 3x3 row by row; its scale does not matter.
        basis: (6, 2 K), the `affine_basis` of the points.

    Returns:
        (N, K, 2), always finite, with finite gradients: see `HORIZON`.
    """
    if traced():
        return plain_homography(matrix, basis)
    mapped: Tensor = _Homography.apply(matrix, basis)
    return mapped


def plain_homography(matrix: Tensor, basis: Tensor) -> Tensor:
    """Computes `homography`, but for rounding, with PyTorch's own derivatives."""
    scale = matrix[:, 6:] @ basis[:3, ::2]
    horizon = torch.full_like(scale, HORIZON).copysign(scale.detach())
    scale = torch.where(scale.abs() < HORIZON, horizon, scale)
    points = matrix[:, :6] @ basis
    return points.view(*scale.shape, 2) / scale.unsqueeze(2)


class _Homography(torch.autograd.Function):
    """Hand-written, as it takes a large part of a small cell's training step: each (x, y) is scaled
    as one complex number, and all sums are matrix products."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, basis: Tensor) -> Tensor:
        scale = matrix[:, 6:] @ basis[:3, ::2]  # (N, K)
        inverse = scale.abs().clamp_(min=HORIZON).copysign_(scale).reciprocal_()
        mapped = _scaled((matrix[:, :6] @ basis).view(len(matrix), -1, 2), inverse)
        ctx.save_for_backward(matrix, basis, scale, inverse, mapped)
        return mapped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        matrix, basis, scale, inverse, mapped = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            plain = plain_homography(matrix, basis)
            return torch.autograd.grad(plain, matrix, gradient, create_graph=True)[0], None
        gradient = _scaled(gradient.contiguous(), inverse)
        free = (scale.abs() >= HORIZON).to(scale.dtype)  # 1 where it is not clamped
        of_scale = _scaled(gradient * mapped, free).flatten(1)
        affine = gradient.flatten(1) @ basis.T
        # The product contains each point twice, and so adds up the parts of x and y.
        return torch.cat([affine, -of_scale @ (basis[:3] + basis[3:]).T], dim=1), None


def _scaled(points: Tensor, factor: Tensor) -> Tensor:
    """Multiplies (N, K, 2) by (N, K)."""
    return torch.view_as_real(torch.view_as_complex(points) * factor)


class GridGenerator(nn.Module):
    """T_theta(G): base class of all transforms; subclass it to add your own.

    A subclass is constructed with the output's size, registers the buffer `identity` (P,), the
    parameters that leave an image unchanged, and maps theta (N, P) to a grid (N, H, W, 2) in
    `forward`. It may also register `jitter` (P,): standard deviations of a mild noise on each
    parameter, which the recipe's `theta_jitter` multiplies.

    Its buffers and parameters, theta and the grid are always float32 or float64.
    """

    identity: Tensor
    jitter: Tensor | None

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self._exact: dict[str, Tensor] = {}
        self.register_buffer("jitter", None, persistent=False)

    @property
    def n_parameters(self) -> int:
        """P, the length of theta."""
        return self.identity.numel()

    def _checked(self, theta: Tensor) -> Tensor:
        """Theta, in single precision at least.

        Raises:
            ValueError: it has another shape.
        """
        if theta.ndim != 2 or theta.shape[1] != self.n_parameters:
            raise ValueError(
                f"{type(self).__name__} takes theta of shape (N, {self.n_parameters}), "
                f"not {tuple(theta.shape)}"
            )
        return at_least_float32(theta)

    def constant(self, name: str, value: Tensor) -> None:
        """Registers a buffer that is not in the state_dict, as the constructor can recompute it.

        Args:
            name: name of the buffer.
            value: float64; a later `double()` restores its full precision.
        """
        self._exact[name] = value
        buffer = at_least_float32(value.to(torch.get_default_dtype()))
        self.register_buffer(name, buffer, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves and converts the module, but never below single precision, also within a network
        that is: bfloat16 numbers are half a pixel of 128 apart."""

        def convert(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            if is_low_precision(converted):
                return tensor.to(converted.device, torch.float32)
            return converted

        super()._apply(convert, recurse)  # type: ignore[no-untyped-call]
        for name, value in self._exact.items():
            setattr(self, name, value.to(getattr(self, name)))
        return self


_ROW_JITTER = (MATRIX_JITTER, MATRIX_JITTER, SHIFT_JITTER)
_AFFINE_JITTER = (*_ROW_JITTER, *_ROW_JITTER)


class AffineGrid(GridGenerator):
    """theta: the 2x3 matrix, row by row (6 numbers); equation 1 of the paper."""

    basis: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.constant("basis", affine_basis(homogeneous(pixel_centres(size))))
        self.constant("identity", torch.eye(2, 3, dtype=torch.float64).flatten())
        self.constant("jitter", torch.tensor(_AFFINE_JITTER, dtype=torch.float64))

    def forward(self, theta: Tensor) -> Tensor:
        """(N, 6) -> (N, H, W, 2)."""
        theta = self._checked(theta)
        return (theta @ self.basis).view(-1, *self.size, 2)


class ProjectiveGrid(GridGenerator):
    """theta: the first 8 numbers of a 3x3 matrix whose last entry is 1, row by row."""

    basis: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.constant("basis", affine_basis(homogeneous(pixel_centres(size))))
        self.constant("identity", torch.eye(3, dtype=torch.float64).flatten()[:8])
        jitter = (*_AFFINE_JITTER, PERSPECTIVE_JITTER, PERSPECTIVE_JITTER)
        self.constant("jitter", torch.tensor(jitter, dtype=torch.float64))

    def forward(self, theta: Tensor) -> Tensor:
        """(N, 8) -> (N, H, W, 2), finite even where the denominator is 0."""
        theta = self._checked(theta)
        matrix = torch.cat([theta, torch.ones_like(theta[:, :1])], dim=1)
        return homography(matrix, self.basis).view(-1, *self.size, 2)


class ThinPlateSplineGrid(GridGenerator):
    """theta: target of each control point, (x, y) point by point (2 n m numbers, 32 for 4x4).

    The control points are a regular n x m grid over the output, from -span to span on each axis.
    The grid is the thin plate spline (kernel r^2 log r, no smoothing) that maps control point k to
    theta_k. For fixed control points it is linear in theta: the system is inverted only once.
    """

    basis: Tensor
    points: Tensor

    def __init__(self, size: Size, control: tuple[int, int] = (4, 4), span: float = 1.0) -> None:
        super().__init__(size)
        rows, columns = control
        if rows < 2 or columns < 2:
            raise ValueError(f"a spline needs at least 2x2 control points, not {rows}x{columns}")
        y, x = (torch.linspace(-span, span, k, dtype=torch.float64) for k in control)
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points = torch.stack([grid_x, grid_y], dim=-1).reshape(-1, 2)
        matrix = spline_matrix(points, pixel_centres(size))  # for x and for y alike
        both = torch.einsum("mk,cd->kcmd", matrix, torch.eye(2).to(matrix))
        self.constant("basis", both.reshape(points.numel(), -1))
        self.constant("points", pixel_centres(size).flatten())
        self.constant("identity", points.flatten())
        self.constant("jitter", torch.full_like(self._exact["identity"], POINT_JITTER))

    def forward(self, theta: Tensor) -> Tensor:
        """(N, 2 n m) -> (N, H, W, 2)."""
        theta = self._checked(theta)
        # Unmoved points give the identity; adding only the spline of the moves keeps it exact.
        grid = torch.addmm(self.points, theta - self.identity, self.basis)
        return grid.view(-1, *self.size, 2)


def spline_matrix(control: Tensor, points: Tensor) -> Tensor:
    """Matrix that maps values at control points to the spline through them, at other points.

    Args:
        control: (K, 2), not all on one line; float64.
        points: (M, 2).

    Returns:
        (M, K). Multiplied by the K values, it gives the spline's values at the M points.
    """
    count = len(control)
    system = control.new_zeros(count + 3, count + 3)
    system[:count, :count] = _bending(control, control)
    system[:count, count:] = homogeneous(control)
    system[count:, :count] = homogeneous(control).T
    basis = torch.cat([_bending(points, control), homogeneous(points)], dim=1)
    inverse: Tensor = torch.linalg.inv(system)
    return basis @ inverse[:, :count]


def _bending(points: Tensor, control: Tensor) -> Tensor:
    """r^2 log r between each point and each control point; 0 at r = 0."""
    x, y = (points[:, None, axis] - control[None, :, axis] for axis in (0, 1))
    squared = x * x + y * y
    return torch.xlogy(squared, squared) / 2
