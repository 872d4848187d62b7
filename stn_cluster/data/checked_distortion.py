"""Distortions of plug-ins: what they give is checked, and cast where that is harmless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stn_cluster.data.distortions import (
    Distortion,
    GridDistortion,
    Parameters,
    ScalableDistortion,
)
from stn_cluster.errors import UserError

ROUNDING = 1e-3  # how far beyond 0 and 1 a value may be


@dataclass(frozen=True)
class CheckedDistortion:
    """A plug-in's distortion.

    All methods raise UserError if it does not give what `Distortion` says.
    """

    name: str  # as in "distortion 'N'"
    own: Distortion
    canvas: int

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, P), in an array that only the caller has."""
        return self._numbers(self.own.draw(rng, n), "draws", (n, None))

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """(N, P) -> (N, P): see `ScalableDistortion`.

        Raises:
            UserError: the plug-in does not say how its distortion scales, too.
        """
        if not isinstance(self.own, ScalableDistortion):
            raise UserError(
                f"{self.name} has no `scaled(parameters, severity)`, which says how it gets worse: "
                f"severity {severity:g} is not possible, only 1"
            )
        given = self.own.scaled(parameters.copy(), severity)
        return self._numbers(given, f"scaled to severity {severity:g} gives", parameters.shape)

    def _numbers(self, given: Any, gives: str, shape: tuple[int, int | None]) -> Parameters:
        """A copy of parameters (n, P) as an array; P None: any."""
        if isinstance(given, Tensor):
            given = given.detach().cpu().numpy()
        n, columns = shape
        if (
            not isinstance(given, np.ndarray)
            or given.ndim != 2
            or len(given) != n
            or columns not in (None, given.shape[1])
            or given.dtype.kind not in "fiub"
        ):
            raise UserError(
                f"{self.name} {gives} {described(given)}; expected an array of numbers ({n}, "
                f"{'P' if columns is None else columns}): the parameters of each warp"
            )
        if not np.isfinite(given).all():
            raise UserError(f"{self.name} {gives} parameters that are not finite")
        return given.astype(np.float32 if given.dtype.kind == "f" else given.dtype)  # a copy

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """(N, C, frame, frame) and (N, P) -> (N, C, canvas, canvas) float32; values:
        `check_values`."""
        given: Any = self.own.apply(images, parameters)
        shape = (*images.shape[:2], self.canvas, self.canvas)
        return self._cast(given, shape, images.device, "distorted images")

    def check_values(self, images: Tensor) -> None:
        """Checks that distorted images have values of 0 to 1, which waits for the device."""
        least, largest = (float(edge) for edge in torch.aminmax(images))
        if not (least >= -ROUNDING and largest <= 1 + ROUNDING):  # NaN fails too
            raise UserError(
                f"{self.name} gave images with values from {least:.4g} to {largest:.4g}; "
                "expected 0 to 1 (`images.clamp(0, 1)`)"
            )

    def _cast(self, given: Any, shape: tuple[int, ...], device: torch.device, what: str) -> Tensor:
        fits = isinstance(given, Tensor) and given.shape == shape and given.device == device
        if not fits or not given.is_floating_point():
            raise UserError(
                f"{self.name} gave {described(given)}; expected {what}: floating point "
                f"{shape} on {device.type}"
            )
        # A copy, as it may be given again with the next images in it: a plain tensor, which no
        # gradient is followed into, also of one that was made in inference mode.
        plain: Tensor = given.detach().as_subclass(Tensor)
        return plain.to(torch.float32, copy=True)


@dataclass(frozen=True)
class CheckedGridDistortion(CheckedDistortion):
    """A plug-in's distortion that has a `grid`."""

    own: GridDistortion

    def grid(self, parameters: Tensor) -> Tensor:
        """(N, P) -> (N, canvas, canvas, 2) float32."""
        shape = (len(parameters), self.canvas, self.canvas, 2)
        return self._cast(self.own.grid(parameters), shape, parameters.device, "a grid")


def checked(name: str, own: object, canvas: int) -> CheckedDistortion:
    """A plug-in's distortion with checks.

    Raises:
        UserError: it isn't a distortion, or is one on another canvas.
    """
    if not isinstance(own, Distortion):
        absent = [part for part in ("canvas", "draw", "apply") if not hasattr(own, part)]
        raise UserError(
            f"{name} gave {type(own).__name__}, which has no {' and no '.join(absent)}: see "
            "`stn_cluster.data.distortions.Distortion`"
        )
    if own.canvas != canvas:
        raise UserError(f"{name} has a canvas of {own.canvas} pixels; the config asks for {canvas}")
    if isinstance(own, GridDistortion):
        return CheckedGridDistortion(name, own, canvas)
    return CheckedDistortion(name, own, canvas)


def check_repeated(name: str, what: str, first: Tensor, again: Tensor) -> None:
    """Checks that the same call gave the same twice, up to the order of sums on a GPU.

    Raises:
        UserError: it did not.
    """
    if not torch.allclose(first, again, rtol=0, atol=ROUNDING):
        raise UserError(
            f"{name} gave other {what} when it was called again in the same way: they may depend "
            "on what it is given and on the default generators, but not on earlier calls or on "
            "generators of its own"
        )


def described(given: object) -> str:
    """What user code gave, for errors: 'float64 (8, 28, 28) on cpu', 'tuple of 2'."""
    if isinstance(given, Tensor):
        kind = str(given.dtype).removeprefix("torch.")
        return f"{kind} {tuple(given.shape)} on {given.device.type}"
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype} {given.shape}"
    if isinstance(given, tuple | list | dict):
        return f"{type(given).__name__} of {len(given)}"
    return type(given).__name__
