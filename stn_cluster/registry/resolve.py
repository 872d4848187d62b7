"""Resolves a `GridConfig` to its `Cell`s, and checks every rule of the grid."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.dataset_info import CANVAS_PIXELS, FRAME, DatasetInfo, scaled
from stn_cluster.errors import UserError, unknown, within
from stn_cluster.grid import (
    NO_TRAINING,
    PAPER_DISTORTIONS,
    PAPER_MODELS,
    PAPER_TRANSFORMS,
    Cell,
    GridConfig,
    base_distortion,
)
from stn_cluster.networks import ModelChoice, Network
from stn_cluster.registry.chosen_models import find_model, network_of
from stn_cluster.registry.chosen_recipes import chosen_recipe, of_listed_cell
from stn_cluster.registry.components import Entry, lookup, names
from stn_cluster.registry.dataset_lookup import FoundDataset, found_dataset
from stn_cluster.registry.plugins import load_plugins, loading
from stn_cluster.registry.torchvision_names import PREFIX

if TYPE_CHECKING:
    from stn_cluster.recipes import Recipe

_PAPER_MODELS = tuple(ModelChoice(name=name) for name in PAPER_MODELS)
MAX_CELLS = 200_000  # of a job that comes over HTTP
SHAPE = ("filters", "hidden_units", "transformer_size")
_DISTORTION = re.compile(r"(?P<name>[^:]+)(:(?P<variant>[a-z][a-z-]*?)?-?(?P<canvas>[0-9]{1,6})?)?")


def resolve(
    config: GridConfig,
    data_root: Path | None = None,
    *,
    source: str = "config",
    folder: Path | None = None,
) -> list[Cell]:
    """Makes the cells of a config, in the order of the table.

    Args:
        config: the config.
        data_root: folder of the data sets' files; None: `data`.
        source: name of the config in errors.
        folder: folder to search for its plug-ins, in addition to Python's path.

    Raises:
        UserError: a name is unknown, a transform does not fit a model, a model does not fit a
            canvas, a cell is listed twice, or a field of a recipe is wrong.
    """
    try:
        with loading:
            load_plugins(config.plugins, [folder] if folder else [])
            found = cache(partial(found_dataset, data_root=data_root))
            cells = [*_product(config, found, data_root), *_listed(config, found, data_root)]
    except UserError as error:
        raise UserError(f"{source}: {error}", error.field) from error.__cause__
    seen: dict[str, Cell] = {}
    for cell in cells:
        if cell.key in seen:
            raise UserError(
                f"{source}: {cell.label} ({cell.dataset}, {cell.recipe}) is listed twice"
            )
        seen[cell.key] = cell
    return cells


def largest(config: GridConfig) -> int:
    """Largest possible number of cells of a config, computed without making them."""
    if not config.has_axes:
        return len(config.cells)
    axes = (
        config.models or PAPER_MODELS,
        config.transforms or PAPER_TRANSFORMS,
        config.distortions or PAPER_DISTORTIONS,
        config.seeds or (0,),
    )
    return prod(map(len, axes)) + len(config.cells)


def check_size(config: GridConfig) -> None:
    """Refuses a config that would fill the memory, before its cells are made.

    Raises:
        UserError: it may have more than `MAX_CELLS`.
    """
    if (count := largest(config)) > MAX_CELLS:
        raise UserError(f"config: {count:,} cells, at most {MAX_CELLS:,} in a job", "config")


def left_out(config: GridConfig) -> str | None:
    """One line on what the product of a config's axes would have and the grid does not; None if
    there is nothing, or neither models nor transforms are named.

    Args:
        config: a config that resolves.
    """
    if not config.has_axes or (config.models is None and config.transforms is None):
        return None
    models = config.models or _PAPER_MODELS
    transforms = config.transforms or _usual_transforms(models)
    trained = [model for model in models if model.weights is None]
    plain, spatial = (
        [str(m) for m in trained if lookup("model", m.name).spatial is s] for s in (False, True)
    )
    others = [transform for transform in transforms if transform != "none"]
    parts = []
    if plain and others:
        parts.append(f"{', '.join(plain)} with {', '.join(others)} (no transformer)")
    if spatial and "none" in transforms:
        parts.append(f"{', '.join(spatial)} with none (a transformer needs a transform)")
    return f"not in the grid: {'; '.join(parts)}" if parts else None


def check_revisions(cell: Cell) -> None:
    """Checks that the components in this process are the ones that the cell's key stands for.

    Raises:
        UserError: a plug-in's source has been edited since the cell was resolved.
    """
    for name, revision in cell.revisions.items():
        kind, _, component = name.partition(":")
        if kind == "dataset":  # checked where its files are read: `check_dataset`
            continue
        if lookup(kind, component).revision != revision:  # type: ignore[arg-type]
            raise UserError(f"{name} has been edited since this run began; run it again")


def _product(
    config: GridConfig, found: Callable[[str], FoundDataset], data_root: Path | None
) -> list[Cell]:
    if not config.has_axes:
        return []
    models = config.models or _PAPER_MODELS
    with within("models"):
        for model in models:
            find_model(model)
    with within("transforms"):
        transforms = config.transforms or _usual_transforms(models)
        for transform in transforms:
            lookup("transform", transform)
    pairs = _pairs(models, transforms)
    with within("dataset"):
        dataset = found(config.dataset)
    distortions = config.distortions or PAPER_DISTORTIONS
    with within("distortions"):
        for distortion in distortions:
            parse_distortion(distortion, dataset.info.frame)
    with within("models"):
        networks = {model: network_of(model, dataset.info, data_root) for model in models}
    recipe = chosen_recipe(config.recipe, "recipe", config)
    cells = []
    for (model, transform), distortion in product(pairs, distortions):
        first, *others = _seeds(model, config)
        choice = model, networks[model]
        cell = _cell(config, recipe, choice, transform, distortion, first, dataset)
        cells += [cell, *(cell.with_seed(seed) for seed in others)]
    return cells


def _listed(
    config: GridConfig, found: Callable[[str], FoundDataset], data_root: Path | None
) -> list[Cell]:
    cells = []
    for index, choice in enumerate(config.cells):
        try:
            find_model(choice.model)
            if not _fits(choice.model, choice.transform):
                raise UserError(_misfit(choice.model, choice.transform))
            if choice.model.weights is not None and choice.seed:
                raise UserError(f"{choice.model} is not trained: its seed is 0, not {choice.seed}")
            recipe = chosen_recipe(of_listed_cell(config.recipe, choice.recipe), "recipe", config)
            dataset = found(choice.dataset or config.dataset)
            model = choice.model, network_of(choice.model, dataset.info, data_root)
            names = choice.transform, choice.distortion, choice.seed
            cells.append(_cell(config, recipe, model, *names, dataset))
        except UserError as error:
            field = ".".join(filter(None, [f"cells.{index}", error.field]))
            raise UserError(f"cells.{index}: {error}", field) from None
    return cells


def _seeds(model: ModelChoice, config: GridConfig) -> tuple[int, ...]:
    """Seeds of a model; one that is not trained has no others."""
    return (0,) if model.weights is not None else config.seeds or (0,)


def _usual_transforms(models: tuple[ModelChoice, ...]) -> tuple[str, ...]:
    """The paper's transforms that at least one of the models takes."""
    return tuple(t for t in PAPER_TRANSFORMS if any(_fits(model, t) for model in models))


def _fits(model: ModelChoice, transform: str) -> bool:
    """Whether a model takes a transform: plain classifiers take `none`, STNs all others."""
    lookup("transform", transform)
    return lookup("model", model.name).spatial == (transform != "none")


def _misfit(model: ModelChoice, transform: str) -> str:
    if transform == "none":
        return f"{model} needs a transform, as in affine, projective or tps; not none"
    return f"{model} takes no transform; it goes with none, not {transform}"


def _pairs(
    models: tuple[ModelChoice, ...], transforms: tuple[str, ...]
) -> list[tuple[ModelChoice, str]]:
    """The models, each with the transforms that it takes.

    Raises:
        UserError: a model takes none of the transforms, or no model takes one of them.
    """
    pairs = []
    for model in models:
        fitting = [transform for transform in transforms if _fits(model, transform)]
        if not fitting and model.weights is not None and _fits(model, "none"):
            fitting = ["none"]  # beside models that are trained with others
        if not fitting:
            raise UserError(f"transforms: {_misfit(model, transforms[0])}", "transforms")
        pairs += [(model, transform) for transform in fitting]
    for transform in transforms:
        if not any(_fits(model, transform) for model in models):
            raise UserError(f"models: no model here goes with transform {transform}", "models")
    return pairs


def _cell(
    config: GridConfig,
    recipe: tuple[str, Recipe],
    model: tuple[ModelChoice, Network | None],
    transform: str,
    distortion: str,
    seed: int,
    dataset: FoundDataset,
) -> Cell:
    info = dataset.info
    choice, network = model
    name, variant, canvas, canonical = parse_distortion(distortion, info.frame)
    used: list[Entry] = [
        lookup("model", choice.name),
        lookup("transform", transform),
        lookup("distortion", name),
        dataset.entry,
    ]
    recipe_name, settings = recipe
    own = settings.for_model(choice.name)
    if str(choice) in settings.by_model:
        own = settings.for_model(str(choice))
    _check_size(used[0], own, canonical, canvas, info)
    fields = own.model_dump(mode="json", exclude_defaults=True, exclude={"by_model"})
    if choice.weights is not None:
        recipe_name, fields = NO_TRAINING, _shape(used[0], fields)
    revisions = {f"{entry.kind}:{entry.name}": entry.revision for entry in used}
    # The cell contains the recipe's settings, so it needs neither the recipe nor its revision.
    plugins = {entry.plugin for entry in used if entry.plugin}
    return Cell(
        model=str(choice),
        transform=transform,
        distortion=canonical,
        variant=variant,
        canvas=canvas,
        seed=seed,
        dataset=dataset.entry.name,
        recipe=recipe_name,
        settings=fields,
        revisions=revisions | {f"dataset:{dataset.entry.name}": dataset.revision},
        plugins=tuple(sorted(plugins)),
        cost=_cost(used[0], own, canvas, info) if choice.weights is None else used[0].cost,
        needs=config.needs,
        no_progress_seconds=config.no_progress_seconds,
        network=network,
        data=info,
    )


def _shape(model: Entry, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that decide on the shapes of a model's weights."""
    taken = () if model.name.startswith(PREFIX) else SHAPE
    return {name: value for name, value in settings.items() if name in taken}


def _check_size(
    model: Entry, recipe: Recipe, distortion: str, canvas: int, info: DatasetInfo
) -> None:
    """Raises UserError if the model cannot take images of the canvas, or its transformer's."""
    on = f"{distortion} on images of {info.frame}x{info.frame} pixels"
    if canvas < model.smallest:
        raise UserError(
            f"{model.name} takes images from {model.smallest}x{model.smallest} pixels; {on} gives "
            f"{canvas}x{canvas}: leave the model or the distortion out, or name a larger canvas, "
            f"as in {base_distortion(distortion)}:{model.smallest}"
        )
    if model.spatial and recipe.transformer_size is not None:
        edge = scaled(recipe.transformer_size, info.frame)
        if not model.smallest_output <= edge <= CANVAS_PIXELS[1]:
            raise UserError(
                f"transformer_size: {recipe.transformer_size} 28ths of {info.frame} pixels are "
                f"{edge}; {model.name} takes {model.smallest_output} to {CANVAS_PIXELS[1]}"
            )


def _cost(model: Entry, recipe: Recipe, canvas: int, info: DatasetInfo) -> float:
    """Estimated training time of a cell, from its images and the size of the classifier's input."""
    edge = canvas
    if model.spatial and recipe.transformer_size is not None:
        edge = scaled(recipe.transformer_size, info.frame)
    return recipe.iterations * recipe.batch_size * model.cost * (edge / FRAME) ** 2


def parse_distortion(text: str, frame: int = FRAME) -> tuple[str, str, int, str]:
    """Parses 'P:xy-42' to ('P', 'xy', 42, 'P:xy-42'): name, variant, canvas, canonical name.

    The canonical name leaves out defaults: 'RTS:42' is 'RTS', 'P:xy-enlarged' is 'P'.

    Args:
        text: the distortion as a config names it.
        frame: pixels, height and width of the undistorted image; a variant's own canvas is 1 or
            1.5 times that.

    Raises:
        UserError: no such distortion or variant, or a canvas out of range.
    """
    match = _DISTORTION.fullmatch(text)
    parts = [part for part in (match["variant"], match["canvas"]) if part] if match else []
    if match is None or text != ":".join([match["name"], *filter(None, ["-".join(parts)])]):
        raise UserError(
            f"distortion {text!r}: expected NAME, NAME:VARIANT, NAME:CANVAS or both, as in P:xy-42"
        )
    entry = lookup("distortion", match["name"])
    canvases = _canvases(entry, frame)
    default, _ = entry.variants[0]
    variant_of_name = dict(entry.variant_names)
    variant = variant_of_name.get(match["variant"], match["variant"] or default)
    if variant not in canvases:
        raise UserError(f"distortion {text!r}: {unknown('variant', variant, canvases)}")
    canvas = int(match["canvas"] or canvases[variant])
    smallest, largest = CANVAS_PIXELS
    if not smallest <= canvas <= largest:
        raise UserError(f"distortion {text!r}: the canvas is {smallest} to {largest} pixels")
    return entry.name, variant, canvas, _canonical_name(entry, variant, canvas, frame)


def _canvases(entry: Entry, frame: int) -> dict[str, int]:
    """Pixels of each variant's own canvas."""
    return {variant: scaled(canvas, frame) for variant, canvas in entry.variants}


def _canonical_name(entry: Entry, variant: str, canvas: int, frame: int) -> str:
    """Name without defaults, which are the first variant and a variant's own canvas."""
    default, _ = entry.variants[0]
    parts = [entry.shown_variant(variant)] if variant != default else []
    parts += [str(canvas)] if canvas != _canvases(entry, frame)[variant] else []
    return f"{entry.name}:{'-'.join(parts)}" if parts else entry.name


def present_name(stored: str, variant: str, canvas: int, frame: int = FRAME) -> str:
    """Present name of a distortion that was stored under an older name.

    Names leave out the default variant, and the default may have changed since. A variant that is
    not registered here keeps its name: it may be a plug-in's.
    """
    base = base_distortion(stored)
    entry = lookup("distortion", base) if base in names("distortion") else None
    if entry is None or variant not in dict(entry.variants):
        return stored
    return _canonical_name(entry, variant, canvas, frame)


def with_present_name(cell: Cell) -> Cell:
    """Copy of a stored cell with the present name of its distortion; its key stays the same."""
    name = present_name(cell.distortion, cell.variant, cell.canvas, cell.data.frame)
    return cell if name == cell.distortion else cell.model_copy(update={"distortion": name})
