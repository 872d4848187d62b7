"""The recipe that a config chooses: a named one, with fields that the config changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from stn_cluster.errors import UserError, first_error, within
from stn_cluster.grid import GridConfig, RecipeChoice, short_hash
from stn_cluster.registry.components import lookup

if TYPE_CHECKING:
    from stn_cluster.recipes import Recipe

DEFAULT_RECIPE = "fast"


def of_listed_cell(config: RecipeChoice, cell: RecipeChoice | None) -> RecipeChoice:
    """Recipe of a listed cell: its own, or the config's with the cell's overrides."""
    if cell is None:
        return config
    if cell.name is not None:
        return cell
    return RecipeChoice(name=config.name, overrides=config.overrides | cell.overrides)


def chosen_recipe(choice: RecipeChoice, field: str, config: GridConfig) -> tuple[str, Recipe]:
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
    own_names = {str(model) for model in (*(config.models or ()), *(c.model for c in config.cells))}
    for model in recipe.by_model:
        try:
            if model not in own_names:
                lookup("model", model)
        except UserError as error:
            raise UserError(f"{field}.by_model: {error}", f"{field}.by_model") from None
    if recipe == base:
        return name, base
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    return f"{name}+{short_hash(changed, digits=4)}", recipe
