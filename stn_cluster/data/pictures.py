"""Pictures: image files of any format that Pillow reads, as square arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stn_cluster.dataset_info import WHITE, DatasetInfo

_OF_16_BITS = 257  # 65,535 is 255


def read_picture(file: Path, info: DatasetInfo) -> NDArray[np.uint8]:
    """Reads a picture: turned upright as its EXIF says, on the background where it is transparent,
    its shorter side scaled to the frame, and cut in the middle. Of several frames, the first.

    Args:
        file: the image file.
        info: the frame, the channels, and the background.

    Returns:
        (H, W), or (3, H, W), uint8.

    Raises:
        ValueError: it is no image, or a damaged one; the message names the file.
    """
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            picture = _opaque(upright, info).convert("L" if info.channels == 1 else "RGB")
        fitted = ImageOps.fit(picture, (info.frame, info.frame), Image.Resampling.BICUBIC)
    except UnidentifiedImageError:
        raise ValueError(f"{file}: is no image, or of a format that Pillow does not read") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{file}: ")
        raise ValueError(f"{file}: cannot be read as an image: {reason}") from error
    pixels = np.asarray(fitted)
    return pixels if info.channels == 1 else pixels.transpose(2, 0, 1)


def _opaque(picture: Image.Image, info: DatasetInfo) -> Image.Image:
    """The picture with 8 bits a channel and without transparency."""
    if picture.mode.startswith("I"):
        return _of_8_bits(np.asarray(picture))
    if picture.mode == "F":
        raise ValueError("its pixels are fractions, of no known range")
    if "A" not in picture.mode and "a" not in picture.mode and "transparency" not in picture.info:
        return picture
    colour = info.background if info.channels == 3 else info.background * 3
    below = Image.new("RGBA", picture.size, (*colour, WHITE))
    return Image.alpha_composite(below, picture.convert("RGBA")).convert("RGB")


def _of_8_bits(pixels: NDArray[Any]) -> Image.Image:
    """A grey picture of 16 bits a pixel."""
    numbers = pixels.astype(np.int64)
    if numbers.min() < 0 or numbers.max() > WHITE * _OF_16_BITS:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((2 * numbers + _OF_16_BITS) // (2 * _OF_16_BITS)).astype(np.uint8))
