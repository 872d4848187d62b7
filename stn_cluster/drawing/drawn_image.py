"""A drawing or a picture, made into an image as those of a data set are."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.dataset_info import WHITE, DatasetInfo, scaled
from stn_cluster.errors import UserError
from stn_cluster.exploring.drawable import digits_like

DIGIT = 20  # px of a frame of 28: the longer side of a digit, in MNIST and in `digits`
SMALL = 8  # px: scikit-learn's digits are as coarse as this, before they are enlarged


def decode(request: Mapping[str, Any]) -> Tensor:
    """Pixels of a request: (C, side, side) of 0 to 1.

    Raises:
        UserError: they are not as many as they should be.
    """
    side, channels = request["side"], request["channels"]
    try:
        content = base64.b64decode(request["pixels"], validate=True)
    except ValueError as error:
        raise UserError(f"pixels: not base64: {error}", "pixels") from None
    if len(content) != side * side * channels:
        raise UserError(
            f"pixels: {side} x {side} x {channels} bytes, not {len(content):,}", "pixels"
        )
    pixels = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return pixels.view(side, side, channels).permute(2, 0, 1).float() / WHITE


def encode(image: Tensor) -> dict[str, Any]:
    """An image (C, H, W) of 0 to 1, as a page takes it."""
    channels, _, side = image.shape
    values = (WHITE * image.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    content = base64.b64encode(values.numpy().tobytes()).decode()
    return {"side": side, "channels": channels, "pixels": content}


def as_frame(pixels: Tensor, dataset: str, info: DatasetInfo) -> Tensor:
    """An image of a data set's frame, (C, frame, frame), in steps of 1/255 as those are.

    A digit's bounding box is scaled until its longer side is that of the data set's digits. As in
    MNIST (LeCun et al. 1998, section III.A), the centre of mass is then moved to the frame's
    centre. In `digits`, it is reduced to 8 x 8 pixels and enlarged again. Other images are scaled
    as a whole.

    Args:
        pixels: (C, side, side) of 0 to 1; digits are bright on dark.
        dataset: the data set's name.
        info: what its images are.
    """
    image = _with_channels(pixels, info.channels)
    like = digits_like(dataset)
    if like == "mnist":
        image = _as_mnist(image, info.frame)
    elif like == "digits":
        image = _as_coarse(image, info.frame)
    else:
        image = _resized(image, info.frame, info.frame)
    return (WHITE * image.clamp(0, 1)).round() / WHITE


def _with_channels(pixels: Tensor, channels: int) -> Tensor:
    if len(pixels) == channels:
        return pixels
    return pixels.mean(0, keepdim=True) if channels == 1 else pixels.expand(channels, -1, -1)


def _as_mnist(image: Tensor, frame: int) -> Tensor:
    digit = _fitted(image, scaled(DIGIT, frame))
    if digit is None:
        return image.new_zeros(len(image), frame, frame)
    placed = _placed(digit, frame)
    mass = placed.sum()
    centres = torch.arange(frame) + 0.5
    moves = []
    for axis in (1, 2):
        along = placed.sum(dim=(0, 3 - axis))
        moves.append(round(float(frame / 2 - (along * centres).sum() / mass)))
    return _shifted(placed, *moves)


def _as_coarse(image: Tensor, frame: int) -> Tensor:
    digit = _fitted(image, SMALL)
    if digit is None:
        return image.new_zeros(len(image), frame, frame)
    small = (16 * _placed(digit, SMALL)).round() / 16  # its pixels are counts of 0 to 16
    side = scaled(DIGIT, frame)
    large = F.interpolate(small[None], size=(side, side), mode="bilinear", align_corners=False)
    return _placed(large[0], frame)


def _fitted(image: Tensor, longest: int) -> Tensor | None:
    """Bounding box of a drawing, its longer side scaled to a length (px); None if it is empty."""
    rows, columns = (image.amax(dim=(0, axis)) > 0 for axis in (2, 1))
    if not rows.any():
        return None
    (top, bottom), (left, right) = (
        (int(line.nonzero()[0]), int(line.nonzero()[-1]) + 1) for line in (rows, columns)
    )
    box = image[:, top:bottom, left:right]
    height, width = box.shape[1:]
    factor = longest / max(height, width)
    return _resized(box, max(1, round(height * factor)), max(1, round(width * factor)))


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    size = (height, width)
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def _placed(image: Tensor, side: int) -> Tensor:
    """An image in the middle of a larger one."""
    height, width = image.shape[1:]
    top, left = (side - height) // 2, (side - width) // 2
    return F.pad(image, (left, side - width - left, top, side - height - top))


def _shifted(image: Tensor, down: int, right: int) -> Tensor:
    """An image moved by whole pixels; what leaves it is lost, and what comes in is empty."""
    side = image.shape[1]
    framed = F.pad(image, (side,) * 4)
    return framed[:, side - down : 2 * side - down, side - right : 2 * side - right]
