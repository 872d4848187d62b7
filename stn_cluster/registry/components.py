"""Registered components by name: models, transforms, distortions, data sets, recipes.

The built-ins are "module:name" strings, imported on first use, so that reading a config does not
load torch. Plug-ins add their own with the `register_*` decorators.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from stn_cluster.errors import UserError, unknown
from stn_cluster.registry.built_in_lines import LINES
from stn_cluster.registry.plugins import Plugin, registering

Kind = Literal["model", "transform", "distortion", "dataset", "recipe"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CANVAS_PIXELS = (28, 128)  # the smallest and the largest canvas
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
    # distortion: (variant, its canvas in pixels), the default variant first
    variants: tuple[tuple[str, int], ...] = (("plain", 28),)
    # distortion: (name, variant) for a variant that is shown under another name than in keys
    variant_names: tuple[tuple[str, str], ...] = ()
    prepare: str | Callable[..., Any] | None = None  # data set: checks or fetches its files

    def __repr__(self) -> str:
        return f"Entry({self.kind} {self.name!r})"

    @property
    def summary(self) -> str:
        """A line for people; of a plug-in's component, the first sentence of its docstring."""
        if self.source is None:
            return LINES[self.kind, self.name]
        text = getattr(self.target, "__doc__", None) or ""
        paragraph = " ".join(text.strip().partition("\n\n")[0].split())
        return paragraph.partition(". ")[0].rstrip(".")

    @property
    def shown_variants(self) -> tuple[tuple[str, int], ...]:
        """A distortion's variants as a config names them, with their canvases, the default
        first; none if there is only one."""
        shown = {variant: name for name, variant in self.variant_names}
        pairs = tuple((shown.get(variant, variant), canvas) for variant, canvas in self.variants)
        return pairs if len(pairs) > 1 else ()

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
        return _load(self.target)

    def load_prepare(self) -> Callable[..., Any] | None:
        """The function that checks a data set's files before training, if it has one."""
        return None if self.prepare is None else _load(self.prepare)


def _load(target: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _built_in(kind: Kind, name: str, target: str, revision: int = 1, **fields: Any) -> Entry:
    target = f"stn_cluster.{target}"
    return Entry(kind=kind, name=name, target=target, number=revision, **fields)


_MNIST_FILES = "stn_cluster.data.mnist:prepare"
# The first is the default: with it, FCN and CNN are closest to the paper (README, "Which P").
_P_READINGS = (("xy-enlarged", 42), ("xy", 28), ("diagonal", 28), ("diagonal-enlarged", 42))

_BUILT_IN = (
    _built_in("model", "FCN", "stn.models:fcn", revision=2, cost=1),
    _built_in("model", "CNN", "stn.models:cnn", revision=2, cost=9),
    _built_in("model", "ST-FCN", "stn.models:st_fcn", revision=2, spatial=True, cost=2),
    _built_in("model", "ST-CNN", "stn.models:st_cnn", revision=2, spatial=True, cost=12),
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
        variants=(("plain", 42), ("frame", 42)),
        variant_names=(("rotated-frame", "plain"),),
    ),
    _built_in("distortion", "P", "data.distortions:projective", revision=2, variants=_P_READINGS),
    _built_in("distortion", "E", "data.distortions:elastic", revision=2),
    _built_in("dataset", "digits", "data.digits:digits", revision=2),
    _built_in("dataset", "mnist", "data.mnist:mnist", prepare=_MNIST_FILES),
    _built_in("dataset", "mnist-validation", "data.mnist:mnist_validation", prepare=_MNIST_FILES),
    _built_in(
        "dataset", "mnist-validation-5", "data.mnist:mnist_validation_5", prepare=_MNIST_FILES
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
    if (entry := _find(kind, name)) is None:
        raise UserError(unknown(kind, name, names(kind)))
    return entry


def names(kind: Kind) -> list[str]:
    """All registered names of a kind, built-ins first."""
    return [name for other, name in _entries if other == kind and _find(kind, name)]


def _find(kind: Kind, name: str) -> Entry | None:
    """The component, unless its plug-in has been forgotten since."""
    entry = _entries.get((kind, name))
    return None if entry is None or (entry.source and entry.source.forgotten) else entry


def register_model(name: str, *, spatial: bool = False, cost: float = 9.0) -> Callable[[T], T]:
    """Registers `build(task: stn_cluster.stn.models.Task) -> nn.Module` under a name.

    Args:
        name: the model's name in configs, the store and the table.
        spatial: whether it takes transforms other than `none` (`task.transform` makes its grid).
        cost: training time per image, relative to FCN's 1 and CNN's 9; the costliest cells go
            first.
    """
    return _register("model", name, spatial=spatial, cost=cost)


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


def register_dataset(name: str, *, prepare: Callable[..., Any] | None = None) -> Callable[[T], T]:
    """Registers `load(root: Path | None) -> stn_cluster.data.datasets.Dataset`.

    `prepare(root)` runs before training and raises UserError if files are missing.
    """
    return _register("dataset", name, prepare=prepare)


def register_recipe(name: str) -> Callable[[T], T]:
    """Registers `make() -> stn_cluster.recipes.Recipe`."""
    return _register("recipe", name)


def _register(kind: Kind, name: str, **fields: Any) -> Callable[[T], T]:
    if any(c in name for c in ":/+ ") or not name.isprintable() or name[:1] in ("", "-", "."):
        raise UserError(
            f"{kind} name {name!r}: no ':', '/', '+' or blanks, not empty, no '-' or '.' first"
        )

    # The registering module, which need not define the target: it may be a library's model.
    module = str(sys._getframe(2).f_globals["__name__"])

    def decorate(target: T) -> T:
        existing = _find(kind, name)
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
