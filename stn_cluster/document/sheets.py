"""Pictures of test images, many to a PNG file, as text for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_cluster.document.embedded import TestSet

MOST_BYTES = 3_000_000  # of all pictures of a page, as text
SHEET = 256  # pictures of a sheet
ACROSS = 16
MOST_SIDE = 64  # px; larger images are made smaller

Images = NDArray[np.uint8]  # (N, H, W) or (N, H, W, 3)


@dataclass(frozen=True)
class Sheets:
    """Pictures of the first images of a test set's `wrong`."""

    side: int  # px
    pictures: int
    urls: tuple[str, ...]  # of sheets with `SHEET` pictures each, but for the last


def make_sheets(
    test_sets: Sequence[TestSet], images: Mapping[str, Images], most_bytes: int = MOST_BYTES
) -> tuple[Sheets, ...]:
    """Draws as many images as there is room for: a sheet of each test set in turn.

    Args:
        test_sets: whose wrong images are drawn, in their order.
        images: those of each test set that could be made: of its `wrong`, in that order.
        most_bytes: length of all sheets as text.
    """
    urls: list[list[str]] = [[] for _ in test_sets]
    done = [0] * len(test_sets)
    room, turn = most_bytes, 0
    while room > 0:
        begun = False
        for index, test_set in enumerate(test_sets):
            chosen = test_set.wrong[turn * SHEET : (turn + 1) * SHEET]
            if test_set.test_set not in images or not len(chosen):
                continue
            url = _sheet(images[test_set.test_set][turn * SHEET : (turn + 1) * SHEET])
            room -= len(url)
            if room <= 0:
                break
            urls[index].append(url)
            done[index] += len(chosen)
            begun = True
        if not begun:
            break
        turn += 1
    return tuple(
        Sheets(_side(images.get(test_set.test_set)), count, tuple(found))
        for test_set, count, found in zip(test_sets, done, urls, strict=True)
    )


def _side(images: Images | None) -> int:
    return MOST_SIDE if images is None else side_of(images)


def side_of(images: Images) -> int:
    """Side of an image on a sheet, in pixels."""
    return min(MOST_SIDE, int(images.shape[1]))


def _sheet(images: Images) -> str:
    """URL of a sheet."""
    return f"data:image/png;base64,{base64.b64encode(png_sheet(images)).decode()}"


def png_sheet(images: Images) -> bytes:
    """A PNG with `ACROSS` images in a row, each `side_of(images)` wide and high."""
    from PIL import Image

    side = side_of(images)
    down = -(-len(images) // ACROSS)
    mode = "RGB" if images.ndim == 4 else "L"
    sheet = Image.new(mode, (side * min(ACROSS, len(images)), side * down))
    for place, image in enumerate(images):
        picture = Image.fromarray(image)
        if picture.width != side:
            picture = picture.resize((side, side))
        sheet.paste(picture, (place % ACROSS * side, place // ACROSS * side))
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    return content.getvalue()
