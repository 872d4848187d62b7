"""What to run: a `GridConfig` as the user writes it, and the `Cell`s it resolves to.

A config is names and numbers; `stn_cluster.registry.resolve` gives the names their meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]

SMALLEST_AMOUNT = 0.0001  # of anything that a worker is given, as Ray counts

PAPER_MODELS = ("FCN", "CNN", "ST-FCN", "ST-CNN")
PAPER_TRANSFORMS = ("none", "affine", "projective", "tps")
PAPER_DISTORTIONS = ("R", "RTS", "P", "E")
CELL_FILTERS = ("dataset", "recipe", "model", "transform", "distortion", "seed", "key")


class Frozen(BaseModel):
    """A value: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Needs(Frozen):
    """What a worker must be given to train a cell, in Ray's words; no part of the result.

    What is left out is the service's: one GPU where its workers have one, else one core a thread.
    """

    num_cpus: Amount | None = None
    num_gpus: Amount | None = None  # a part of one lets workers share it
    accelerator_type: Name | None = None  # as Ray names them: 'H100', 'A100-80G'
    resources: dict[Name, Positive] = {}  # custom ones, as nodes are started with

    @field_validator("resources")
    @classmethod
    def _custom(cls, resources: dict[str, float]) -> dict[str, float]:
        if taken := sorted({"CPU", "GPU", "memory", "object_store_memory"} & set(resources)):
            raise ValueError(f"{', '.join(taken)}: not a custom resource; see num_cpus, num_gpus")
        return dict(sorted(resources.items()))  # equal needs are written alike: the queue compares

    @model_validator(mode="after")
    def _whole_beyond_one(self) -> Needs:
        amounts = {"num_gpus": self.num_gpus or 0, **self.resources}  # Ray's own rule
        broken = [name for name, x in amounts.items() if x > 1 and x != int(x)]
        if broken:
            raise ValueError(f"{', '.join(broken)}: a part of one, or a whole number")
        if any(0 < x < SMALLEST_AMOUNT for x in (*amounts.values(), self.num_cpus or 0)):
            raise ValueError(f"an amount that is not 0 is at least {SMALLEST_AMOUNT}")
        return self


class Cell(Frozen):
    """One entry of the matrix at one seed, with everything that determines its result."""

    model: str
    transform: str
    distortion: str  # 'P', or with what is not plain about it: 'P:xy-42'
    variant: str  # always written out, also where it is the plain one
    canvas: int  # pixels, height and width of the distorted image
    seed: int
    dataset: str
    recipe: str  # 'fast', or 'fast+1a2b' where fields were overridden
    settings: dict[str, JsonValue]  # the recipe's fields; those at their default left out
    revisions: dict[str, int | str]  # 'model:CNN' -> revision of every component used
    plugins: tuple[str, ...] = ()  # the modules that bring those components
    cost: float = 1.0  # an estimate of its training time, in no particular unit: orders the work
    needs: Needs = Needs()

    @property
    def label(self) -> str:
        """The cell as people read it: 'ST-CNN/tps/RTS/seed0'."""
        return cell_label(self.model, self.transform, self.distortion, self.seed)

    @property
    def iterations(self) -> int:
        """Steps in all."""
        return int(str(self.settings["iterations"]))

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return int(str(self.settings["batch_size"]))

    @property
    def distortion_name(self) -> str:
        """The distortion without its variant and canvas: 'P' of 'P:xy-42'."""
        return base_distortion(self.distortion)

    @cached_property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all that determines the result.

        Names of the recipe and of plug-ins are not in it: the settings and the revisions are.
        """
        # exclude_defaults: a field added later, at its default, changes no key.
        identity = self.model_dump(
            exclude={"recipe", "plugins", "cost", "distortion", "needs"}, exclude_defaults=True
        )
        identity["distortion"] = self.distortion_name
        return short_hash(identity, digits=16)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Cell:
        """See pydantic. The key is worked out anew: what is copied with it may have changed."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("key", None)
        return copied

    @property
    def image_jitter(self) -> float:
        """Standard deviation, in pixels, of the elastic jitter of its training images."""
        return float(str(self.settings.get("image_jitter", 0.0)))

    @property
    def stream(self) -> tuple[str | int, ...]:
        """Cells with equal streams see the same images in the same order, distorted alike.

        Its text names the draws: what is added to it later stays out where it is at its default.
        """
        place = (self.dataset, self.distortion_name, self.variant, self.canvas)
        name = (*place, self.seed, self.batch_size)
        return (*name, f"image_jitter={self.image_jitter}") if self.image_jitter else name

    def test_set(self, frame: int) -> str:
        """The id of the cell's own test set; `frame` is the size of the data set's images (px)."""
        return hash_test_set(
            dataset=self.dataset,
            dataset_revision=self.revisions[f"dataset:{self.dataset}"],
            distortion=self.distortion_name,
            distortion_revision=self.revisions[f"distortion:{self.distortion_name}"],
            variant=self.variant,
            canvas=self.canvas,
            frame=frame,
        )


def base_distortion(name: str) -> str:
    """'P' of 'P:xy-42'."""
    return name.partition(":")[0]


def hash_test_set(
    *,
    dataset: str,
    dataset_revision: int | str,
    distortion: str,
    distortion_revision: int | str,
    variant: str,
    canvas: int,
    frame: int,
    severity: float = 1.0,
    worst_of: int = 1,
) -> str:
    """16 hex digits: the name of a test set, of all that determines its images.

    Args:
        dataset, dataset_revision: whose test images.
        distortion, distortion_revision, variant: the distortion, without its variant; and that.
        canvas: pixels of a distorted image.
        frame: pixels of the undistorted image within it.
        severity: 1 is the plain test set.
        worst_of: how many draws of each image; 1 is the plain test set.
    """
    identity = {
        "dataset": [dataset, dataset_revision],
        "distortion": [distortion, distortion_revision, variant],
        "canvas": canvas,
        "frame": frame,
        "severity": float(severity),
        "worst_of": worst_of,
    }
    return short_hash(identity, digits=16)


def cell_label(model: str, transform: str, distortion: str, seed: int) -> str:
    """'ST-CNN/tps/RTS/seed0'."""
    return f"{model}/{transform}/{distortion}/seed{seed}"


def short_hash(value: Any, digits: int) -> str:
    """First `digits` hex digits of the SHA-256 of the canonical JSON of `value`."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:digits]


class RecipeChoice(Frozen):
    """A named recipe, and the fields of it that this config changes.

    Without a name, a cell's is the config's, and the config's is `fast`.
    """

    name: Name | None = None
    overrides: dict[str, JsonValue] = {}


def _recipe_choice(value: object) -> object:
    """`fast`, or `{name: fast, iterations: 800}`, as a user writes it in YAML."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "overrides" not in value:
        fields = {str(k): v for k, v in value.items() if k != "name"}
        return {"name": value.get("name"), "overrides": fields}
    return value


RecipeField = Annotated[
    RecipeChoice,
    BeforeValidator(
        _recipe_choice, json_schema_input_type=RecipeChoice | Name | dict[str, JsonValue]
    ),
]


class CellChoice(Frozen):
    """One explicitly listed cell; what it leaves out is the config's."""

    model: str
    transform: str = "none"
    distortion: str
    seed: Seed = 0
    dataset: str | None = None
    recipe: RecipeField | None = None


class GridConfig(Frozen):
    """What one YAML file asks for: the product of the axes, and the cells listed one by one.

    Axes left out are the paper's, unless `cells` is given alone: then there is no product.
    """

    name: Name = "grid"
    dataset: str = "digits"
    recipe: RecipeField = RecipeChoice()
    models: tuple[str, ...] | None = None
    transforms: tuple[str, ...] | None = None
    distortions: tuple[str, ...] | None = None
    seeds: tuple[Seed, ...] | None = None
    cells: tuple[CellChoice, ...] = ()
    plugins: tuple[ModuleName, ...] = ()
    needs: Needs = Needs()  # of every cell

    @field_validator("models", "transforms", "distortions", "seeds", "plugins")
    @classmethod
    def _axis(cls, axis: tuple[Any, ...] | None, info: Any) -> tuple[Any, ...] | None:
        if axis is None:
            return axis
        if not axis and info.field_name != "plugins":
            raise ValueError("an empty axis: name at least one, or leave the field out")
        twice = sorted(str(entry) for entry, count in Counter(axis).items() if count > 1)
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return axis

    @property
    def has_axes(self) -> bool:
        """Whether there is a product of axes beside the cells listed one by one."""
        named = (self.models, self.transforms, self.distortions, self.seeds)
        return not self.cells or any(axis is not None for axis in named)
