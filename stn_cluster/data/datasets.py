"""Data sets: images, labels, and the number of distorted versions of each test image."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stn_cluster.data.isolation import isolated
from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.errors import UserError
from stn_cluster.registry import lookup

FRAME = 28  # pixels, height and width of an undistorted image
MAX_CLASSES = 65_535  # the store uses 16 bits per class
WHITE = 255


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one object on an empty background, with a fixed split.

    Images and labels may also be given as NumPy arrays or lists, images as (N, 1, 28, 28), and both
    in another type that holds the same numbers; they are tensors of the types below afterwards.

    Raises:
        ValueError: a shape, a type or a label is wrong; the message says which, what was given and
            what is allowed.
    """

    train_images: Tensor  # (N, 28, 28) uint8, 0 for the background
    train_labels: Tensor  # (N,) int64, 0 to n_classes - 1
    test_images: Tensor  # (M, 28, 28) uint8
    test_labels: Tensor  # (M,) int64
    n_classes: int = 10
    test_repeats: int = 1  # distorted versions of each test image in the test set
    class_names: tuple[str, ...] | None = None  # by class; None: a class is its number

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
        if self.class_names is not None:
            cast["class_names"] = _class_names(self.class_names, n_classes)
        for name, value in cast.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        train, test = len(self.train_labels), len(self.test_labels)
        return f"Dataset({train:,} training images, {test:,} test images, {self.n_classes} classes)"


def load_dataset(name: str, root: Path | None = None) -> Dataset:
    """Loads a registered data set; `root` is the folder of data files.

    A plug-in's is loaded with random numbers that depend on its name alone, and copied: what the
    plug-in does to its own arrays later changes nothing.

    Raises:
        UserError: no such data set, its files are missing or damaged, or a plug-in's cannot be
            loaded or is not as `Dataset` says.
    """
    entry = lookup("dataset", name)
    component = f"data set {name!r}"
    if entry.plugin is None:
        return _checked(component, entry.load()(root))
    state = RandomState(seed_of("dataset", name), torch.device("cpu"), user_code=True)
    try:
        with isolated(component, state):
            given = _checked(component, entry.load()(root))
            fields = {field: getattr(given, field) for field in Dataset.__dataclass_fields__}
            tensors = {k: v.clone() for k, v in fields.items() if isinstance(v, Tensor)}
            return Dataset(**(fields | tensors))  # checked again: it may be a subclass
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the user's function may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{component} does not load: {reason}") from error


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
    """(N, 28, 28) uint8."""
    array = _array(name, given)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "iu" or array.shape[1:] != (FRAME, FRAME):
        floats = ": multiply images of 0 to 1 by 255 and round them"
        raise ValueError(
            f"{name}: (N, {FRAME}, {FRAME}) of whole numbers, 0 to {WHITE}, not {array.shape} of "
            f"{array.dtype}{floats if array.dtype.kind == 'f' else ''}"
        )
    if array.dtype != np.uint8:
        _check_range(name, array, WHITE)
    return _tensor(array, np.uint8)


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
    if isinstance(given, str) or len(given) != n_classes:
        raise ValueError(
            f"class_names: one for each of the {n_classes:,} classes, not {given!r:.100}"
        )
    return tuple(map(str, given))
