"""Data sets: images, labels, and the number of distorted versions of each test image."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stn_cluster.data.isolation import isolated
from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.dataset_info import (
    CHANNELS,
    FRAME_PIXELS,
    MAX_CLASSES,
    WHITE,
    DatasetInfo,
    image_hint,
)
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import DEFAULT_ROOT, find_dataset

VALIDATION_SHARE = 6  # one of so many training images is held out


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one object each, with a fixed split.

    Images are square, of 8 to 256 pixels: grey ones (N, H, W) or (N, 1, H, W), or coloured ones
    (N, 3, H, W). Images and labels may also be given as NumPy arrays or lists, and both in another
    type that holds the same numbers; they are tensors of the types below afterwards.

    Raises:
        ValueError: a shape, a type or a label is wrong; the message says which, what was given and
            what is allowed.
    """

    train_images: Tensor  # (N, H, W) or (N, 3, H, W) uint8
    train_labels: Tensor  # (N,) int64, 0 to n_classes - 1
    test_images: Tensor  # (M, H, W) or (M, 3, H, W) uint8
    test_labels: Tensor  # (M,) int64
    n_classes: int = 10
    test_repeats: int = 1  # distorted versions of each test image in the test set
    class_names: tuple[str, ...] | None = None  # by class; None: a class is its number
    # What is outside of an image, 0 to 255: a number, or one for each channel; a tuple of them
    # afterwards.
    background: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        n_classes = _whole("n_classes", self.n_classes)
        if not 2 <= n_classes <= MAX_CLASSES:
            raise ValueError(f"n_classes: 2 to {MAX_CLASSES:,}, not {n_classes:,}")
        test_repeats = _whole("test_repeats", self.test_repeats)
        if test_repeats < 1:
            raise ValueError(f"test_repeats: at least 1, not {test_repeats}")
        cast: dict[str, Any] = {"n_classes": n_classes, "test_repeats": test_repeats}
        for part in ("train", "test"):
            images = _images(f"{part}_images", getattr(self, f"{part}_images"))
            labels = _labels(f"{part}_labels", getattr(self, f"{part}_labels"), n_classes)
            if len(labels) != len(images):
                raise ValueError(
                    f"{part}_labels: one for each image, not {len(labels):,} for {len(images):,}"
                )
            cast |= {f"{part}_images": images, f"{part}_labels": labels}
        train, test = (tuple(cast[f"{part}_images"].shape[1:]) for part in ("train", "test"))
        if train != test:
            raise ValueError(f"test_images: {train} each, as train_images, not {test}")
        cast["background"] = _background(self.background, train[0] if len(train) == 3 else 1)
        if self.class_names is not None:
            cast["class_names"] = _class_names(self.class_names, n_classes)
        for name, value in cast.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        train, test = len(self.train_labels), len(self.test_labels)
        return f"Dataset({train:,} training images, {test:,} test images, {self.n_classes} classes)"

    @property
    def frame(self) -> int:
        """Pixels, height and width of an image."""
        return self.train_images.shape[-1]

    @property
    def channels(self) -> int:
        """Number of channels of an image, 1 or 3."""
        return self.train_images.shape[1] if self.train_images.ndim == 4 else 1

    @property
    def info(self) -> DatasetInfo:
        """Size, channels, classes and background of its images."""
        assert isinstance(self.background, tuple)
        return DatasetInfo(
            frame=self.frame,
            channels=self.channels,
            n_classes=self.n_classes,
            background=self.background,
        )


def from_arrays(*arrays: Any, **fields: Any) -> Dataset:
    """A data set of arrays or lists: what `Dataset` takes, and type checkers do not."""
    return Dataset(*arrays, **fields)


def load_dataset(name: str, root: Path | None = None) -> Dataset:
    """Loads a registered data set; `root` is the folder of data files.

    A plug-in's is loaded with random numbers that depend on its name alone, and copied: what the
    plug-in does to its own arrays later changes nothing.

    Raises:
        UserError: no such data set, its files are missing or damaged, or a plug-in's cannot be
            loaded or is not as `Dataset` says.
    """
    entry = find_dataset(name, root)
    component = f"data set {name!r}"
    if entry.whole is not None:
        return validation_split(load_dataset(entry.whole, root))
    if entry.plugin is None:
        return _checked(component, entry.load()(root))
    state = RandomState(seed_of("dataset", name), torch.device("cpu"), user_code=True)
    try:
        with isolated(component, state):
            given = _checked(component, entry.load()(root or DEFAULT_ROOT))
            fields = {field: getattr(given, field) for field in Dataset.__dataclass_fields__}
            tensors = {k: v.clone() for k, v in fields.items() if isinstance(v, Tensor)}
            return Dataset(**(fields | tensors))  # checked again: it may be a subclass
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # the user's function may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{component} does not load: {reason}") from error


def check_info(cell: Cell, data: Dataset) -> None:
    """Raises UserError if a data set is not what the cell was made for: a plug-in's declares it."""
    declared, given = cell.data, data.info
    if declared.n_classes is None:
        given = given.model_copy(update={"n_classes": None})
    if declared != given:
        loaded, expected = (
            ", ".join(f"{name}={value}" for name, value in one if (name, value) not in other)
            for one, other in ((list(given), list(declared)), (list(declared), list(given)))
        )
        raise UserError(
            f"data set {cell.dataset!r} has {loaded}, and is registered with {expected}: "
            f"register_dataset({cell.dataset!r}, {loaded})"
        )


def validation_split(whole: Dataset) -> Dataset:
    """A sixth of the training images, by a fixed permutation, as test images; the rest to train on.

    It does not contain the test images.

    Raises:
        UserError: there are fewer than two training images.
    """
    count = len(whole.train_labels)
    if count < 2:
        raise UserError("a validation split needs at least 2 training images")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = max(1, count // VALIDATION_SHARE)
    validation, train = order[:held_out], order[held_out:]
    return replace(
        whole,
        train_images=whole.train_images[train],
        train_labels=whole.train_labels[train],
        test_images=whole.train_images[validation],
        test_labels=whole.train_labels[validation],
    )


def _checked(component: str, given: object) -> Dataset:
    if not isinstance(given, Dataset):
        raise UserError(f"{component} gave {type(given).__name__}, not a Dataset")
    return given


def _whole(name: str, given: Any) -> int:
    try:
        return operator.index(given)
    except TypeError:
        raise ValueError(f"{name}: a whole number, not {given!r}") from None


def _images(name: str, given: Any) -> Tensor:
    """(N, H, W) or (N, 3, H, W) uint8."""
    array = _array(name, given)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    smallest, largest = FRAME_PIXELS
    channels = array.shape[1] if array.ndim == 4 else 1
    square = array.ndim in (3, 4) and array.shape[-1] == array.shape[-2]
    fits = square and channels in CHANNELS and smallest <= array.shape[-1] <= largest
    if array.dtype.kind not in "iu" or not fits:
        raise ValueError(
            f"{name}: (N, H, W) or (N, 3, H, W) of whole numbers, 0 to {WHITE}, where H = W is "
            f"{smallest} to {largest}, not {array.shape} of {array.dtype}"
            f"{image_hint(array.shape, array.dtype.kind)}"
        )
    if array.dtype != np.uint8:
        _check_range(name, array, WHITE)
    return _tensor(array, np.uint8)


def _background(given: Any, channels: int) -> tuple[int, ...]:
    values = tuple(given) if isinstance(given, Sequence | np.ndarray | Tensor) else (given,)
    numbers = tuple(_whole("background", value) for value in values)
    numbers = numbers * channels if len(numbers) == 1 else numbers
    if len(numbers) != channels or not all(0 <= number <= WHITE for number in numbers):
        raise ValueError(
            f"background: a whole number of 0 to {WHITE}, or one for each of {channels} "
            f"channel{'s' if channels > 1 else ''}, not {given!r}"
        )
    return numbers


def _labels(name: str, given: Any, n_classes: int) -> Tensor:
    """(N,) int64."""
    array = _array(name, given)
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise ValueError(
            f"{name}: one whole number for each image, (N,), not {array.shape} of {array.dtype}"
        )
    if not len(array):
        raise ValueError(f"{name}: one whole number for each image, and at least one")
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise ValueError(f"{name}: whole numbers, not {array[array != np.round(array)][0]}")
    _check_range(name, array, n_classes - 1)
    return _tensor(array, np.int64)


def _check_range(name: str, array: NDArray[Any], largest: int) -> None:
    if array.size and (array.min() < 0 or array.max() > largest):
        raise ValueError(f"{name}: from 0 to {largest}, not {array.min()} to {array.max()}")


def _array(name: str, given: Any) -> NDArray[Any]:
    """What was given as an array, without a copy where it is one already."""
    if isinstance(given, Tensor):
        return given.detach().cpu().numpy()
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError(
            f"{name}: {int(np.ma.getmaskarray(given).sum()):,} of its values are masked"
        )
    try:
        if isinstance(given, Sequence) and len(given) and isinstance(given[0], Tensor):
            return np.stack([part.detach().cpu().numpy() for part in given])
        return np.asarray(given)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: {type(given).__name__} gives no array: {reason}") from error


def _tensor(array: ArrayLike, kind: Any) -> Tensor:
    """The array as a tensor that can be written to."""
    array = np.ascontiguousarray(array, kind)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _class_names(given: Any, n_classes: int) -> tuple[str, ...]:
    # A set has no order, and that of a dict need not be that of its values.
    unordered = isinstance(given, str | bytes | Set | Mapping) or not hasattr(given, "__len__")
    if unordered or len(given) != n_classes:
        raise ValueError(
            f"class_names: a list with one for each of the {n_classes:,} classes, "
            f"not {given!r:.100}"
        )
    return tuple(map(str, given))
