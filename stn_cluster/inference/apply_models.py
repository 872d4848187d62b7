"""What networks say of images, and what their spatial transformers do to them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import ValidationError
from torch import Tensor, nn

from stn_cluster.data.random_state import generator
from stn_cluster.data.stream import isolated_distortion, make_distortion, user_state
from stn_cluster.dataset_info import WHITE, DatasetInfo, for_each_channel
from stn_cluster.errors import UserError, first_error
from stn_cluster.grid import Cell
from stn_cluster.inference.stored_cells import StoredCell
from stn_cluster.registry import lookup, parse_distortion
from stn_cluster.stn.modes import evaluating
from stn_cluster.stn.transformer import SpatialTransformer, Transformed
from stn_cluster.training.evaluation import batch_size

Images = Tensor | ArrayLike


class Predicted(NamedTuple):
    """Classes of images, and how sure the network is of them."""

    classes: Tensor  # (N,) int64
    confidences: Tensor  # (N,) float32: the class's softmax probability, 0 to 1


@torch.no_grad()
def predict(model: nn.Module, images: Images) -> Predicted:
    """The most likely class of each image, in evaluation mode.

    Args:
        model: gives scores (N, classes), as one from `load_model`.
        images: (N, C, H, W), (N, H, W) or (H, W), of 0 to 1, or whole numbers of 0 to 255; for a
            model from `load_model`, of the size of its canvas.

    Raises:
        UserError: the images are of another shape or range.
    """
    pixels = _fitting(model, images)
    with evaluating(model):
        batches = torch.split(pixels, batch_size(pixels.shape))
        scores = torch.cat([model(batch) for batch in batches])
    confidences, classes = scores.float().softmax(1).max(1)
    return Predicted(classes, confidences)


@torch.no_grad()
def transformations(model: nn.Module, images: Images) -> list[Transformed]:
    """What each `SpatialTransformer` in a model does to images, in the order of its calls.

    Args:
        model, images: see `predict`.

    Returns:
        For each call: output (N, C, H', W'), theta (N, P) and grid (N, H', W', 2).

    Raises:
        UserError: see `predict`.
    """
    pixels = _fitting(model, images)
    calls: list[Transformed] = []

    def hook(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        told = isinstance(output, Transformed)
        calls.append(output if told else module.forward(inputs[0], details=True))

    layers = [layer for layer in model.modules() if isinstance(layer, SpatialTransformer)]
    hooks = [layer.register_forward_hook(hook) for layer in layers]
    try:
        with evaluating(model):
            model(pixels)
    finally:
        for registered in hooks:
            registered.remove()
    return calls


@torch.no_grad()
def distort(
    images: Images, distortion: str, seed: int = 0, *, background: int | tuple[int, ...] = 0
) -> Tensor:
    """Distorts images at random, each in its own way.

    Args:
        images: (N, C, H, W), (N, H, W) or (H, W), C 1 or 3, H = W, of 0 to 1, or whole numbers of
            0 to 255.
        distortion: as a config names it: 'RTS', 'P:xy', 'E:42'.
        seed: names the draw: the same one distorts in the same way.
        background: what is outside of an image, 0 to 255: a number, or one for each channel.

    Returns:
        (N, C, canvas, canvas) of 0 to 1, float32.

    Raises:
        UserError: there is no such distortion, or the images are of another shape.
    """
    pixels = as_floats(images)
    _, channels, height, width = pixels.shape
    if height != width:
        raise UserError(f"images of {height}x{width} pixels: a distortion takes square ones")
    outside = for_each_channel(background, channels)
    try:
        info = DatasetInfo(frame=height, channels=channels, background=outside)
    except ValidationError as error:
        _, reason = first_error(error.errors())
        raise UserError(f"images {tuple(pixels.shape)} cannot be distorted: {reason}") from None
    name, variant, canvas, canonical = parse_distortion(distortion, height)
    cell = Cell(
        model="",
        transform="none",
        distortion=canonical,
        variant=variant,
        canvas=canvas,
        seed=seed,
        dataset="",
        recipe="",
        settings={},
        revisions={f"distortion:{name}": lookup("distortion", name).revision},
        data=info,
    )
    call = ("distort", name, variant, canvas, seed)
    made = make_distortion(cell)
    with isolated_distortion(cell, user_state(cell, pixels.device, *call)):
        parameters = torch.from_numpy(made.draw(generator(*call), len(pixels)))
        return made.apply(pixels, parameters.to(pixels.device))


def as_floats(images: Images) -> Tensor:
    """Images as float32 (N, C, H, W) of 0 to 1.

    Raises:
        UserError: they are no images.
    """
    try:
        given = images if isinstance(images, Tensor) else torch.as_tensor(np.array(images))
    except (TypeError, ValueError) as error:
        raise UserError(f"images: {type(images).__name__} gives no array: {error}") from error
    if given.ndim not in (2, 3, 4) or not given.numel():
        raise UserError(f"images: (N, C, H, W), (N, H, W) or (H, W), not {tuple(given.shape)}")
    while given.ndim < 4:
        given = given.unsqueeze(given.ndim - 2)  # (H, W) -> (1, H, W) -> (1, 1, H, W)
    largest = 1 if given.is_floating_point() else WHITE
    if not (given.min() >= 0 and given.max() <= largest):
        raise UserError(
            f"images: floating point of 0 to 1 or whole numbers of 0 to {WHITE}, not "
            f"{given.dtype} of {given.min().item():g} to {given.max().item():g}"
        )
    return given.float() / largest


def _fitting(model: nn.Module, images: Images) -> Tensor:
    """Images on the model's device; raises UserError if they are not what it was trained on."""
    pixels = as_floats(images)
    trained = getattr(model, "trained", None)
    if isinstance(trained, StoredCell):
        cell = trained.cell
        shape = (cell.data.channels, cell.canvas, cell.canvas)
        if pixels.shape[1:] != shape:
            takes, given = "x".join(map(str, shape)), "x".join(map(str, pixels.shape[1:]))
            hint = ""
            if pixels.shape[1:] == (shape[0], cell.data.frame, cell.data.frame):
                hint = f": stn_cluster.distort(images, {cell.distortion!r}) gives them"
            raise UserError(f"{cell.label} takes images of {takes}, not {given}{hint}")
    like = next(model.parameters(), None)
    return pixels if like is None else pixels.to(like.device)
