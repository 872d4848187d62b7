"""Registered components by name: models, transforms, distortions, data sets, recipes.

The built-ins are "module:name" strings, imported on first use, so that reading a config does not
load torch. Plug-ins add their own with the `register_*` decorators.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import ValidationError

from stn_cluster.dataset_info import CANVAS_PIXELS, MNIST, DatasetInfo, for_each_channel
from stn_cluster.errors import UserError, first_error, is_near, unknown
from stn_cluster.networks import NAME_RULE, is_model_name
from stn_cluster.registry.built_in_lines import LINES
from stn_cluster.registry.plugins import Plugin, registering
from stn_cluster.registry.torchvision_names import (
    COST,
    PREFIX,
    torchvision_builder,
    torchvision_names,
)

Kind = Literal["model", "transform", "distortion", "dataset", "recipe"]
KINDS: tuple[Kind, ...] = get_args(Kind)
T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered component."""

    kind: Kind
    name: str
    target: str | Callable[..., Any]  # "module:name" until loaded
    number: int = 0  # of a built-in: bumped when the numerics change
    source: Plugin | None = None  # the plug-in that registered it
    module: str | None = None  # that one's module which did
    spatial: bool = False  # model: needs a transform other than `none`
    cost: float = 1.0  # model: training time per image, relative to other models
    smallest: int = 1  # model: pixels, the least height and width of its input
    smallest_output: int = 1  # model: pixels, the least height and width of a transformer's output
    # distortion: (variant, its canvas in pixels on a frame of 28), the default variant first
    variants: tuple[tuple[str, int], ...] = (("plain", 28),)
    # distortion: (name, variant) for a variant that is shown under another name than in keys
    variant_names: tuple[tuple[str, str], ...] = ()
    prepare: str | Callable[..., Any] | None = None  # data set: checks or fetches its files
    info: DatasetInfo = MNIST  # data set: what its images are
    # data set: (data root) -> its files, whose digest is its revision; None: it has a numbered one
    files: Callable[[Path], Sequence[Path]] | None = None
    whole: str | None = None  # data set: the one of whose training images it is a split

    def __repr__(self) -> str:
        return f"Entry({self.kind} {self.name!r})"

    @property
    def summary(self) -> str:
        """A line for people; of a plug-in's component, the first sentence of its docstring."""
        if self.source is None:
            return LINES.get((self.kind, self.name), "")  # torchvision's have none
        text = getattr(self.target, "__doc__", None) or ""
        paragraph = " ".join(text.strip().partition("\n\n")[0].split())
        return paragraph.partition(". ")[0].rstrip(".")

    @property
    def shown_variants(self) -> tuple[tuple[str, int], ...]:
        """A distortion's variants as a config names them, with their canvases, the default
        first; none if there is only one."""
        pairs = tuple((self.shown_variant(variant), canvas) for variant, canvas in self.variants)
        return pairs if len(pairs) > 1 else ()

    def shown_variant(self, variant: str) -> str:
        """Name of a distortion's variant in configs, which need not be that in keys."""
        return {key: name for name, key in self.variant_names}.get(variant, variant)

    @property
    def plugin(self) -> str | None:
        """Name of the plug-in that registered it, as a config names it."""
        return None if self.source is None else self.source.module

    @property
    def revision(self) -> int | str:
        """What its numerics are known by; a plug-in's is the digest of all that it brings."""
        return self.number if self.source is None else self.source.digest

    def load(self) -> Callable[..., Any]:
        """The component itself: a function that makes a model, distortion, data set or recipe, or a
        `GridGenerator` class."""
        return load_target(self.target)

    def load_prepare(self) -> Callable[..., Any] | None:
        """The function that checks a data set's files before training, if it has one."""
        return None if self.prepare is None else load_target(self.prepare)


def load_target(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Function or class that a target names; it is imported now."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _built_in(kind: Kind, name: str, target: str, revision: int = 1, **fields: Any) -> Entry:
    target = f"stn_cluster.{target}"
    return Entry(kind=kind, name=name, target=target, number=revision, **fields)


_MNIST_FILES = "stn_cluster.data.mnist:prepare"
# The first is the default: with it, FCN and CNN are closest to the paper (docs/configs.md,
# "Which RTS, P and E?").
_P_READINGS = (("xy-enlarged", 42), ("xy", 28), ("diagonal", 28), ("diagonal-enlarged", 42))

_BUILT_IN = (
    _built_in("model", "FCN", "stn.models:fcn", revision=2, cost=1),
    _built_in("model", "CNN", "stn.models:cnn", revision=2, cost=9, smallest=21),
    _built_in("model", "ST-FCN", "stn.models:st_fcn", revision=2, spatial=True, cost=2),
    _built_in(
        "model",
        "ST-CNN",
        "stn.models:st_cnn",
        revision=2,
        spatial=True,
        cost=12,
        smallest=28,
        smallest_output=21,
    ),
    _built_in("transform", "none", "stn.grids:GridGenerator"),  # only a name, never constructed
    _built_in("transform", "affine", "stn.grids:AffineGrid", revision=2),
    _built_in("transform", "projective", "stn.grids:ProjectiveGrid", revision=2),
    _built_in("transform", "tps", "stn.grids:ThinPlateSplineGrid", revision=2),
    _built_in("distortion", "R", "data.distortions:rotation", revision=2),
    _built_in(
        "distortion",
        "RTS",
        "data.distortions:rotation_translation_scale",
        revision=2,
        variants=(("frame", 42), ("plain", 42)),
        variant_names=(("rotated-frame", "plain"),),
    ),
    _built_in("distortion", "P", "data.distortions:projective", revision=2, variants=_P_READINGS),
    _built_in("distortion", "E", "data.distortions:elastic", revision=2),
    _built_in("distortion", "clean", "data.distortions:clean"),
    _built_in("dataset", "digits", "data.digits:digits", revision=2),
    _built_in("dataset", "mnist", "data.mnist:mnist", prepare=_MNIST_FILES),
    _built_in("dataset", "mnist-validation", "data.mnist:mnist_validation", prepare=_MNIST_FILES),
    _built_in(
        "dataset", "mnist-validation-5", "data.mnist:mnist_validation_5", prepare=_MNIST_FILES
    ),
    *(
        _built_in(
            "dataset",
            name,
            f"data.torchvision_sets:{function}",
            prepare=f"stn_cluster.data.torchvision_sets:prepare_{function}",
            info=info,
        )
        for name, function, info in (
            ("fashion-mnist", "fashion_mnist", MNIST),
            ("kmnist", "kmnist", MNIST),
            ("cifar10", "cifar10", DatasetInfo(frame=32, channels=3, background=(0, 0, 0))),
        )
    ),
    _built_in("recipe", "paper", "recipes:paper"),
    _built_in("recipe", "fast", "recipes:fast"),
    _built_in("recipe", "smoke", "recipes:smoke"),
)

_entries: dict[tuple[Kind, str], Entry] = {(e.kind, e.name): e for e in _BUILT_IN}


def lookup(kind: Kind, name: str) -> Entry:
    """Finds a component by kind and name.

    Raises:
        UserError: there is none; the message lists all names and suggests the most similar one.
    """
    if (entry := find(kind, name)) is None:
        raise UserError(unknown(kind, name, _similar_names(kind, name)))
    return entry


def _similar_names(kind: Kind, name: str) -> list[str]:
    """Names that an unknown one may be meant for; torchvision's only where none of ours is near."""
    if kind != "model":
        return names(kind)
    if name.startswith(PREFIX):
        return list(torchvision_names())
    near = [known for known in names(kind) if is_near(known, name)]
    library = [PREFIX + name] if not near and PREFIX + name in torchvision_names() else []
    return [*names(kind), *(library or [f"{PREFIX}NAME"])]


def names(kind: Kind) -> list[str]:
    """All registered names of a kind, built-ins first."""
    return [name for other, name in _entries if other == kind and find(kind, name)]


def find(kind: Kind, name: str) -> Entry | None:
    """The component, if there is one and its plug-in has not been forgotten since."""
    entry = _entries.get((kind, name))
    if kind == "model" and name.startswith(PREFIX) and name in torchvision_names():
        return _torchvision_model(name)
    return None if entry is None or (entry.source and entry.source.forgotten) else entry


@cache
def _torchvision_model(name: str) -> Entry:
    target = torchvision_builder(name)
    return Entry(kind="model", name=name, target=target, number=1, cost=COST)


def register_model(
    name: str, *, spatial: bool = False, cost: float = 9.0, smallest: int = 1
) -> Callable[[T], T]:
    """Registers `build(task: stn_cluster.stn.models.Task) -> nn.Module` under a name.

    Args:
        name: the model's name in configs, the store and the table.
        spatial: whether it takes transforms other than `none` (`task.transform` makes its grid).
        cost: training time per image, relative to FCN's 1 and CNN's 9; the costliest cells go
            first.
        smallest: pixels, the least height and width of its input; smaller ones are refused before
            anything runs.
    """
    return _register("model", name, spatial=spatial, cost=cost, smallest=smallest)


def register_transform(name: str) -> Callable[[T], T]:
    """Registers a `stn_cluster.stn.grids.GridGenerator` class under a name."""
    return _register("transform", name)


def register_distortion(
    name: str, *, canvas: int = 28, variants: dict[str, int] | None = None
) -> Callable[[T], T]:
    """Registers `make(variant: str, canvas: int) -> stn_cluster.data.distortions.Distortion`.

    Args:
        name: the distortion's name in configs, the store and the table.
        canvas: height and width of the distorted image in pixels, unless a config sets another.
        variants: its variants and their canvases, the default first; None: only one.
    """
    pairs = tuple(variants.items()) if variants else (("plain", canvas),)
    smallest, largest = CANVAS_PIXELS
    for variant, pixels in pairs:
        if not re.fullmatch("[a-z]+(-[a-z]+)*", variant) or not smallest <= pixels <= largest:
            raise UserError(
                f"distortion {name!r}: variant {variant!r} on {pixels} pixels: expected lower-case "
                f"letters and single hyphens, and a canvas of {smallest} to {largest} pixels"
            )
    return _register("distortion", name, variants=pairs)


def register_dataset(
    name: str,
    *,
    frame: int = 28,
    channels: int = 1,
    n_classes: int | None = None,
    background: int | Sequence[int] = 0,
    prepare: Callable[..., Any] | None = None,
    files: Callable[[Path], Sequence[Path]] | None = None,
) -> Callable[[T], T]:
    """Registers `load(root: Path | None) -> stn_cluster.data.datasets.Dataset`.

    Args:
        name: the data set's name in configs, the store and the table.
        frame: height and width of its images in pixels, 8 to 256; canvases follow from it.
        channels: 1 or 3.
        n_classes: number of classes; None: known once it is loaded.
        background: what is outside of an image, 0 to 255: a number, or one for each channel.
        prepare: `prepare(root)` runs before training and raises UserError if files are missing.
        files: `files(root)` names the files, or folders, that it is loaded from: where they
            change, cells are trained anew. Relative ones are under the data root.

    Raises:
        UserError: a number is out of range.
    """
    numbers = for_each_channel(background, channels)
    fields = {"frame": frame, "channels": channels, "n_classes": n_classes}
    try:
        info = DatasetInfo.model_validate(fields | {"background": numbers})
    except ValidationError as error:
        first, reason = first_error(error.errors())
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"dataset {name!r}: {where}: {reason}") from None
    return _register("dataset", name, prepare=prepare, info=info, files=files)


def register_recipe(name: str) -> Callable[[T], T]:
    """Registers `make() -> stn_cluster.recipes.Recipe`."""
    return _register("recipe", name)


def _register(kind: Kind, name: str, **fields: Any) -> Callable[[T], T]:
    if kind == "model":
        if not is_model_name(name) or name.startswith(PREFIX):
            raise UserError(f"model name {name!r}: {NAME_RULE}; {PREFIX}NAME is torchvision's")
    elif any(c in name for c in ":/+ ") or not name.isprintable() or name[:1] in ("", *"-.=@"):
        raise UserError(
            f"{kind} name {name!r}: no ':', '/', '+' or blanks, not empty, no '-', '.', '=' or '@' "
            "first"
        )

    # The registering module, which need not define the target: it may be a library's model.
    module = str(sys._getframe(2).f_globals["__name__"])

    def decorate(target: T) -> T:
        existing = find(kind, name)
        if existing is not None and existing.module != module:
            owner = existing.plugin or "stn-cluster"
            raise UserError(
                f"{kind} {name!r} is already registered by {owner}; choose another name"
            )
        _entries[kind, name] = Entry(
            kind=kind,
            name=name,
            target=target,
            source=registering(module),
            module=module,
            **fields,
        )
        return target

    return decorate
