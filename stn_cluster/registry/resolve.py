"""Resolves a `GridConfig` to its `Cell`s, and checks every rule of the grid."""

from __future__ import annotations

import re
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stn_cluster.errors import UserError, first_error, unknown, within
from stn_cluster.grid import (
    PAPER_DISTORTIONS,
    PAPER_MODELS,
    PAPER_TRANSFORMS,
    Cell,
    GridConfig,
    RecipeChoice,
    base_distortion,
    short_hash,
)
from stn_cluster.registry.components import CANVAS_PIXELS, Entry, lookup, names
from stn_cluster.registry.plugins import load_plugins, loading

if TYPE_CHECKING:
    from stn_cluster.recipes import Recipe

DEFAULT_RECIPE = "fast"
_DISTORTION = re.compile(r"(?P<name>[^:]+)(:(?P<variant>[a-z][a-z-]*?)?-?(?P<canvas>\d+)?)?")


def resolve(config: GridConfig, source: str = "config", folder: Path | None = None) -> list[Cell]:
    """Makes the cells of a config, in the order of the table.

    Args:
        config: the config.
        source: name of the config in errors.
        folder: folder to search for its plug-ins, in addition to Python's path.

    Raises:
        UserError: a name is unknown, a transform does not fit a model, a cell is listed twice, or
            a field of a recipe is wrong.
    """
    try:
        with loading:
            load_plugins(config.plugins, [folder] if folder else [])
            cells = [*_product(config), *_listed(config)]
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


def left_out(config: GridConfig) -> str | None:
    """One line on what the product of a config's axes would have and the grid does not; None if
    there is nothing, or neither models nor transforms are named.

    Args:
        config: a config that resolves.
    """
    if not config.has_axes or (config.models is None and config.transforms is None):
        return None
    models = config.models or PAPER_MODELS
    transforms = config.transforms or _usual_transforms(models)
    plain, spatial = ([m for m in models if lookup("model", m).spatial is s] for s in (False, True))
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
        if lookup(kind, component).revision != revision:  # type: ignore[arg-type]
            raise UserError(f"{name} has been edited since this run began; run it again")


def _product(config: GridConfig) -> list[Cell]:
    if not config.has_axes:
        return []
    models = config.models or PAPER_MODELS
    with within("models"):
        for model in models:
            lookup("model", model)
    with within("transforms"):
        transforms = config.transforms or _usual_transforms(models)
        for transform in transforms:
            lookup("transform", transform)
    _check_axes_meet(models, transforms)
    distortions = config.distortions or PAPER_DISTORTIONS
    with within("distortions"):
        for distortion in distortions:
            parse_distortion(distortion)
    with within("dataset"):
        lookup("dataset", config.dataset)
    recipe = _recipe(config.recipe, "recipe")
    return [
        _cell(config, recipe, model, transform, distortion, seed, config.dataset)
        for model, transform in product(models, transforms)
        if _fits(model, transform)
        for distortion, seed in product(distortions, config.seeds or (0,))
    ]


def _listed(config: GridConfig) -> list[Cell]:
    cells = []
    for index, choice in enumerate(config.cells):
        try:
            if not _fits(choice.model, choice.transform):
                raise UserError(_misfit(choice.model, choice.transform))
            recipe = _recipe(_within(config.recipe, choice.recipe), "recipe")
            dataset = choice.dataset or config.dataset
            cells.append(
                _cell(
                    config,
                    recipe,
                    choice.model,
                    choice.transform,
                    choice.distortion,
                    choice.seed,
                    dataset,
                )
            )
        except UserError as error:
            field = ".".join(filter(None, [f"cells.{index}", error.field]))
            raise UserError(f"cells.{index}: {error}", field) from None
    return cells


def _usual_transforms(models: tuple[str, ...]) -> tuple[str, ...]:
    """The paper's transforms that at least one of the models takes."""
    return tuple(t for t in PAPER_TRANSFORMS if any(_fits(model, t) for model in models))


def _fits(model: str, transform: str) -> bool:
    """Whether a model takes a transform: plain classifiers take `none`, STNs all others."""
    lookup("transform", transform)
    return lookup("model", model).spatial == (transform != "none")


def _misfit(model: str, transform: str) -> str:
    if transform == "none":
        return f"{model} needs a transform, as in affine, projective or tps; not none"
    return f"{model} takes no transform; it goes with none, not {transform}"


def _check_axes_meet(models: tuple[str, ...], transforms: tuple[str, ...]) -> None:
    for model in models:
        if not any(_fits(model, transform) for transform in transforms):
            raise UserError(f"transforms: {_misfit(model, transforms[0])}", "transforms")
    for transform in transforms:
        if not any(_fits(model, transform) for model in models):
            raise UserError(f"models: no model here goes with transform {transform}", "models")


def _cell(
    config: GridConfig,
    recipe: tuple[str, Recipe],
    model: str,
    transform: str,
    distortion: str,
    seed: int,
    dataset: str,
) -> Cell:
    name, variant, canvas, canonical = parse_distortion(distortion)
    used: list[Entry] = [
        lookup("model", model),
        lookup("transform", transform),
        lookup("distortion", name),
        lookup("dataset", dataset),
    ]
    recipe_name, settings = recipe
    # The cell contains the recipe's settings, so it needs neither the recipe nor its revision.
    plugins = {entry.plugin for entry in used if entry.plugin}
    return Cell(
        model=model,
        transform=transform,
        distortion=canonical,
        variant=variant,
        canvas=canvas,
        seed=seed,
        dataset=dataset,
        recipe=recipe_name,
        settings=settings.for_model(model).model_dump(
            mode="json", exclude_defaults=True, exclude={"by_model"}
        ),
        revisions={f"{entry.kind}:{entry.name}": entry.revision for entry in used},
        plugins=tuple(sorted(plugins)),
        cost=_cost(used[0], settings.for_model(model), canvas),
        needs=config.needs,
        no_progress_seconds=config.no_progress_seconds,
    )


def _cost(model: Entry, recipe: Recipe, canvas: int) -> float:
    """Estimated training time of a cell, from its images and the size of the classifier's input."""
    edge = (recipe.transformer_size or canvas) if model.spatial else canvas
    return recipe.iterations * recipe.batch_size * model.cost * (edge / 28) ** 2


def parse_distortion(text: str) -> tuple[str, str, int, str]:
    """Parses 'P:xy-42' to ('P', 'xy', 42, 'P:xy-42'): name, variant, canvas, canonical name.

    The canonical name leaves out defaults: 'RTS:42' is 'RTS', 'P:xy-enlarged' is 'P'.

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
    canvases = dict(entry.variants)
    default, _ = entry.variants[0]
    variant_of_name = dict(entry.variant_names)
    variant = variant_of_name.get(match["variant"], match["variant"] or default)
    if variant not in canvases:
        raise UserError(f"distortion {text!r}: {unknown('variant', variant, canvases)}")
    canvas = int(match["canvas"] or canvases[variant])
    smallest, largest = CANVAS_PIXELS
    if not smallest <= canvas <= largest:
        raise UserError(f"distortion {text!r}: the canvas is {smallest} to {largest} pixels")
    return entry.name, variant, canvas, _canonical_name(entry, variant, canvas)


def _canonical_name(entry: Entry, variant: str, canvas: int) -> str:
    """Name without defaults, which are the first variant and a variant's own canvas."""
    default, _ = entry.variants[0]
    shown = {variant: name for name, variant in entry.variant_names}
    parts = [shown.get(variant, variant)] if variant != default else []
    parts += [str(canvas)] if canvas != dict(entry.variants)[variant] else []
    return f"{entry.name}:{'-'.join(parts)}" if parts else entry.name


def present_name(stored: str, variant: str, canvas: int) -> str:
    """Present name of a distortion that was stored under an older name.

    Names leave out the default variant, and the default may have changed since. A variant that is
    not registered here keeps its name: it may be a plug-in's.
    """
    base = base_distortion(stored)
    entry = lookup("distortion", base) if base in names("distortion") else None
    if entry is None or variant not in dict(entry.variants):
        return stored
    return _canonical_name(entry, variant, canvas)


def with_present_name(cell: Cell) -> Cell:
    """Copy of a stored cell with the present name of its distortion; its key stays the same."""
    name = present_name(cell.distortion, cell.variant, cell.canvas)
    return cell if name == cell.distortion else cell.model_copy(update={"distortion": name})


def _within(config: RecipeChoice, cell: RecipeChoice | None) -> RecipeChoice:
    """Recipe of a listed cell: its own, or the config's with the cell's overrides."""
    if cell is None:
        return config
    if cell.name is not None:
        return cell
    return RecipeChoice(name=config.name, overrides=config.overrides | cell.overrides)


def _recipe(choice: RecipeChoice, field: str) -> tuple[str, Recipe]:
    """Display name of a recipe, and the recipe with the overrides applied."""
    name = choice.name or DEFAULT_RECIPE
    with within(field):
        base: Recipe = lookup("recipe", name).load()()
    if not choice.overrides:
        return name, base
    # A config's override applies to all models, also where the recipe has a value `by_model`.
    by_model = {
        model: {name: value for name, value in own.items() if name not in choice.overrides}
        for model, own in base.by_model.items()
    }
    own_fields = {model: own for model, own in by_model.items() if own}
    fields = base.model_dump() | {"by_model": own_fields} | choice.overrides
    try:
        recipe = type(base).model_validate(fields)
    except ValidationError as error:
        known = type(base).model_fields
        first, message = first_error(error.errors(), lambda path: known)
        where = ".".join([field, *map(str, first["loc"])])
        shown = first["loc"] and first["type"] != "extra_forbidden"
        given = f" (given: {first['input']!r})" if shown else ""
        raise UserError(f"{where}: {message}{given}", where) from None
    for model in recipe.by_model:
        try:
            lookup("model", model)
        except UserError as error:
            raise UserError(f"{field}.by_model: {error}", f"{field}.by_model") from None
    if recipe == base:
        return name, base
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    return f"{name}+{short_hash(changed, digits=4)}", recipe
