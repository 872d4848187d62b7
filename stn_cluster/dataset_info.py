"""Description of a data set's images without the images: plain values, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

FRAME = 28  # pixels, height and width of MNIST's images, which amounts in pixels are meant for
FRAME_PIXELS = (8, 256)  # the smallest and the largest frame
CANVAS_PIXELS = (8, 384)  # the smallest and the largest canvas
CHANNELS = (1, 3)
MAX_CLASSES = 65_535  # the store uses 16 bits per class
WHITE = 255


class DatasetInfo(BaseModel):
    """A data set without its images; the defaults are MNIST's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Annotated[int, Field(ge=FRAME_PIXELS[0], le=FRAME_PIXELS[1], strict=True)] = FRAME
    channels: Annotated[int, Field(strict=True)] = 1
    # None: known once it is loaded (a plug-in's that does not declare it).
    n_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES, strict=True)] | None = 10
    # What is outside of an image, 0 to 255: one number for each channel.
    background: tuple[Annotated[int, Field(ge=0, le=WHITE, strict=True)], ...] = (0,)

    @model_validator(mode="after")
    def _one_background_a_channel(self) -> DatasetInfo:
        if self.channels not in CHANNELS:
            raise ValueError(f"channels: 1 or 3, not {self.channels}")
        if len(self.background) != self.channels:
            raise ValueError(f"background: one number for each channel, not {self.background}")
        return self


MNIST = DatasetInfo()


def for_each_channel(background: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """A background as one number for each channel; several numbers stay as they are."""
    return (background,) * channels if isinstance(background, int) else tuple(background)


def image_hint(shape: Sequence[int], kind: str) -> str:
    """What may help where an array is no images: '' or an advice that begins with ': '.

    Args:
        shape: the array's.
        kind: of its numbers, as NumPy's `dtype.kind`.
    """
    if kind == "f":
        return f": multiply images of 0 to 1 by {WHITE} and round them"
    if len(shape) == 4 and shape[1] not in CHANNELS and shape[-1] in CHANNELS:
        return ": move the channels to the front, as by `images.transpose(0, 3, 1, 2)`"
    return ""


def scaled(pixels: int, frame: int) -> int:
    """A size that is meant for a frame of 28 pixels, on another frame: rounded, halves up."""
    return (2 * pixels * frame + FRAME) // (2 * FRAME)
