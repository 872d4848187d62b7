"""Run configurations: a `GridConfig` as the user writes it, and the `Cell`s it resolves to.

A config consists of names and numbers; `stn_cluster.registry.resolve` looks the names up.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from stn_cluster.dataset_info import MNIST, DatasetInfo
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.networks import ModelField, Network
from stn_cluster.notebook_html import html_fields, in_one_line

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
LARGEST_AMOUNT = 1e12  # of a resource: Ray counts in ten thousandths, with 64 bits
Amount = Annotated[float, Field(ge=0, le=LARGEST_AMOUNT, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]

SMALLEST_AMOUNT = 0.0001  # the smallest amount of a resource that Ray can reserve
LEAST_SHARE = 0.05  # of a CPU core or GPU

NO_TRAINING = "none"  # recipe of a cell that is evaluated and not trained

PAPER_MODELS = ("FCN", "CNN", "ST-FCN", "ST-CNN")
PAPER_TRANSFORMS = ("none", "affine", "projective", "tps")
PAPER_DISTORTIONS = ("R", "RTS", "P", "E")
CELL_FILTERS = ("dataset", "recipe", "model", "transform", "distortion", "seed", "key")
_CANVAS = re.compile(r":([0-9]+$|(.*)-[0-9]+$)")


class Frozen(BaseModel):
    """Base of all config values: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Fields that are not at their defaults, for `repr`."""
        for name, field in type(self).model_fields.items():
            if (value := getattr(self, name)) != field.default:
                yield name, value


class Described(Frozen):
    """Base of what users write: a text below a field is its description in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Needs(Described):
    """Ray resources of a worker that trains the cell; they do not affect the result.

    Fields left out get the service's defaults: one GPU where its workers have GPUs, otherwise one
    CPU core per thread.
    """

    num_cpus: Amount | None = None
    """CPU cores of a worker."""
    num_gpus: Amount | None = None
    """GPUs of a worker; a fraction lets workers share one."""
    accelerator_type: Name | None = None
    """Ray's name of a GPU, such as H100 or A100-80G."""
    resources: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=LARGEST_AMOUNT, allow_inf_nan=False)]],
        Field(max_length=100),
    ] = {}
    """Custom resources of Ray nodes: amounts by name."""

    @cached_property
    def text(self) -> str:
        """JSON by which needs are compared: equal needs have the same."""
        return self.model_dump_json(exclude_defaults=True)

    @field_validator("resources")
    @classmethod
    def _custom(cls, resources: dict[str, float]) -> dict[str, float]:
        if reserved := sorted({"CPU", "GPU", "memory", "object_store_memory"} & set(resources)):
            raise ValueError(
                f"{', '.join(reserved)}: not a custom resource; see num_cpus, num_gpus"
            )
        return dict(sorted(resources.items()))  # the queue compares needs as text: one order

    @model_validator(mode="after")
    def _whole_beyond_one(self) -> Needs:
        amounts = {"num_gpus": self.num_gpus or 0, **self.resources}  # this is Ray's rule
        fractional = [name for name, x in amounts.items() if x > 1 and x != int(x)]
        if fractional:
            raise ValueError(f"{', '.join(fractional)}: must be below 1 or a whole number")
        if any(0 < x < SMALLEST_AMOUNT for x in amounts.values()):
            raise ValueError(f"an amount must be 0 or at least {SMALLEST_AMOUNT}")
        for name in ("num_cpus", "num_gpus"):  # each worker is a process, with its memory
            if 0 < (getattr(self, name) or 0) < LEAST_SHARE:
                raise ValueError(f"{name} must be 0 or at least {LEAST_SHARE}")
        return self


class AroundSeed(NamedTuple):
    """Texts of a cell of any seed: each as what comes before the seed's digits, and after them."""

    identity: tuple[str, str]  # canonical JSON of what the key is a hash of
    spec: tuple[str, str]  # JSON of all fields


class Cell(Frozen):
    """One entry of the matrix at one seed, with everything that determines its result."""

    model: str
    transform: str
    distortion: str  # 'P', or 'P:xy-42' with a variant or canvas other than the default
    variant: str  # always given, even if it is the default
    canvas: int  # pixels, height and width of the distorted image
    seed: int
    dataset: str
    recipe: str  # 'fast', or 'fast+1a2b' where fields were overridden
    settings: dict[str, JsonValue]  # the recipe's fields, without those at their default
    revisions: dict[str, int | str]  # 'model:CNN' -> revision of every component used
    plugins: tuple[str, ...] = ()  # modules that register those components
    cost: float = 1.0  # estimated training time in arbitrary units; the costliest cells go first
    needs: Needs = Needs()
    no_progress_seconds: float | None = None  # see `GridConfig`
    network: Network | None = None  # None: the registered model of its name
    data: DatasetInfo = MNIST  # what the data set's images are; its revision implies it

    @model_serializer(mode="wrap")
    def _without_new_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what was added later, at its default: stored specs stay as they are."""
        fields: dict[str, Any] = serialize(self)
        if self.no_progress_seconds is None:
            fields.pop("no_progress_seconds", None)
        if self.network is None:
            fields.pop("network", None)
        if self.data == MNIST:
            fields.pop("data", None)
        return fields

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The names alone, for `repr`."""
        yield None, self.label
        for name in ("dataset", "recipe", "key"):
            yield name, getattr(self, name)

    def _repr_html_(self) -> str:
        """What a notebook shows: the names, and all that determines the result."""
        network = self.network and self.network.model_dump(mode="json", exclude_defaults=True)
        fields = {
            **{name: getattr(self, name) for name in ("key", "dataset", "recipe", "variant")},
            "canvas": f"{self.canvas} px",
            "network": network and in_one_line(network),
            "plugins": ", ".join(self.plugins),
            "settings": in_one_line(self.settings),
            "revisions": in_one_line(self.revisions),
        }
        return html_fields(self.label, fields)

    @property
    def label(self) -> str:
        """Name of the cell for people: 'ST-CNN/tps/RTS/seed0'."""
        return cell_label(self.model, self.transform, self.distortion, self.seed)

    @property
    def evaluates(self) -> None:
        """It is no evaluation: see `Evaluation.evaluates`."""

    @property
    def architecture(self) -> str:
        """Name of the registered model."""
        return self.model if self.network is None else self.network.name

    @property
    def is_trained(self) -> bool:
        """Whether it is trained; else it is only evaluated, with weights from a file."""
        return self.network is None or self.network.weights is None

    @property
    def iterations(self) -> int:
        """Number of training steps."""
        return int(str(self.settings["iterations"])) if self.is_trained else 0

    @property
    def batch_size(self) -> int:
        """Number of images per step."""
        return int(str(self.settings["batch_size"])) if self.is_trained else 0

    @property
    def distortion_name(self) -> str:
        """The distortion without its variant and canvas: 'P' for 'P:xy-42'."""
        return base_distortion(self.distortion)

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of everything that determines the result.

        The settings and revisions are part of it, the names of the recipe and of plug-ins are not.
        """
        head, tail = self.around_seed.identity
        return hashlib.sha256(f"{head}{self.seed}{tail}".encode()).hexdigest()[:16]

    @property
    def spec_parts(self) -> tuple[str, ...]:
        """Parts of `model_dump_json`; copies `with_seed` share the long ones."""
        head, tail = self.around_seed.spec
        return head, str(self.seed), tail

    @cached_property
    def around_seed(self) -> AroundSeed:
        """Texts of the cell with any seed, which its copies `with_seed` share."""
        # exclude_defaults: a field that is added later does not change the keys of cells that
        # leave it at its default.
        machine = {"needs", "no_progress_seconds"}
        implied = {"recipe", "plugins", "cost", "distortion", "data"}
        identity = self.model_dump(
            exclude={**dict.fromkeys(implied | machine, True), "network": {"weights"}},
            exclude_defaults=True,
        )
        identity["distortion"] = self.distortion_name
        fields = list(type(self).model_fields)
        before = set(fields[: fields.index("seed")])
        return AroundSeed(
            identity=_around(
                canonical_json({k: v for k, v in identity.items() if k < "seed"}),
                canonical_json({k: v for k, v in identity.items() if k > "seed"}),
            ),
            spec=_around(
                self.model_dump_json(include=before),
                self.model_dump_json(exclude={*before, "seed"}),
            ),
        )

    def with_seed(self, seed: int) -> Cell:
        """Copy with another seed: much cheaper than another cell."""
        copied = self.model_copy(update={"seed": seed})
        copied.__dict__["around_seed"] = self.around_seed
        return copied

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Cell:
        """Overrides pydantic's so that the copy does not inherit the cached key."""
        copied = super().model_copy(update=update, deep=deep)
        for cached in ("key", "around_seed"):
            copied.__dict__.pop(cached, None)
        return copied

    def renamed(self, recipe: str) -> Cell:
        """Copy with another name of the recipe, which is not part of the key."""
        if recipe == self.recipe:
            return self
        copied = self.model_copy(update={"recipe": recipe})
        return copied if "key" not in self.__dict__ else copied.with_key(self.key)

    def with_key(self, key: str) -> Cell:
        """The cell itself, whose key is known and need not be computed."""
        self.__dict__["key"] = key
        return self

    @property
    def image_jitter(self) -> float:
        """Standard deviation, in pixels, of the elastic jitter of its training images."""
        return float(str(self.settings.get("image_jitter", 0.0)))

    @property
    def stream(self) -> tuple[str | int, ...]:
        """Name of the stream: cells of one stream see the same images in the same order, distorted
        in the same way.

        The name seeds the random numbers, so a field that is added later is left out at its
        default.
        """
        place = (self.dataset, self.distortion_name, self.variant, self.canvas)
        if not self.is_trained:
            return ("evaluation", *place)
        name = (*place, self.seed, self.batch_size)
        return (*name, f"image_jitter={self.image_jitter}") if self.image_jitter else name

    @property
    def digests(self) -> set[str]:
        """Digests among its revisions: of plug-ins, and of data sets that are files alone.

        That of a plug-in's data set may have the digest of its files behind a '+'.
        """
        revisions = [revision for revision in self.revisions.values() if isinstance(revision, str)]
        return {revision.partition("+")[0] for revision in revisions}

    @property
    def test_set(self) -> str:
        """Id of the cell's own test set."""
        return hash_test_set(
            dataset=self.dataset,
            dataset_revision=self.revisions[f"dataset:{self.dataset}"],
            distortion=self.distortion_name,
            distortion_revision=self.revisions[f"distortion:{self.distortion_name}"],
            variant=self.variant,
            canvas=self.canvas,
            frame=self.data.frame,
        )


def listed(wanted: Any) -> list[Any]:
    """Values of a filter: one, or several."""
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        return [wanted]
    return list(wanted)


def base_distortion(name: str) -> str:
    """Name of a distortion without variant and canvas: 'P' for 'P:xy-42'."""
    return name.partition(":")[0]


def without_canvas(name: str) -> str:
    """Name of a distortion without its canvas, as it is tested on: 'P:xy' for 'P:xy-42'."""
    return _CANVAS.sub(lambda found: f":{found[2]}" if found[2] else "", name)


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
    moves: float = 1.0,
) -> str:
    """Id of a test set: 16 hex digits, a hash of everything that determines its images.

    Args:
        dataset, dataset_revision: the data set that the test images come from.
        distortion, distortion_revision, variant: the distortion (its base name) and its variant.
        canvas: height and width of a distorted image in pixels.
        frame: height and width of the undistorted image in pixels.
        severity: multiple of the distortion's strength; 1 in the standard test set.
        worst_of: number of draws per image; 1 in the standard test set.
        moves: multiple of the standard deviation of P's moves; 1 in the standard test set.
    """
    identity: dict[str, Any] = {
        "dataset": [dataset, dataset_revision],
        "distortion": [distortion, distortion_revision, variant],
        "canvas": canvas,
        "frame": frame,
        "severity": float(severity),
        "worst_of": worst_of,
    }
    if moves != 1:  # ids without it stay as they are
        identity["moves"] = moves
    return short_hash(identity, digits=16)


def cell_label(model: str, transform: str, distortion: str, seed: int) -> str:
    """Name of a cell for people: 'ST-CNN/tps/RTS/seed0'."""
    return f"{model}/{transform}/{distortion}/seed{seed}"


def _around(before: str, after: str) -> tuple[str, str]:
    """Two JSON objects as one with a `seed` between their fields, split at the seed."""
    return f'{before[:-1]},"seed":', f",{after[1:]}"


def canonical_json(value: Any) -> str:
    """JSON of `value` that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_hash(value: Any, digits: int) -> str:
    """First `digits` hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]


class RecipeChoice(Described):
    """A named recipe and the fields that this config overrides.

    Without a name, a listed cell uses the config's recipe, and a config uses `fast`.
    """

    name: Name | None = None
    """The recipe whose fields are changed: paper, fast, smoke, or a plug-in's."""
    overrides: dict[str, JsonValue] = {}
    """Changed fields of the recipe."""


def _recipe_choice(value: object) -> object:
    """Accepts `fast` or `{name: fast, iterations: 800}`, as a user writes it in YAML."""
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


class CellChoice(Described):
    """One explicitly listed cell; fields left out are taken from the config."""

    model: ModelField
    """The network."""
    transform: str = "none"
    """The transform of its spatial transformer; none for a network without one."""
    distortion: str
    """The distortion, with a variant or a canvas where it is not the default: R, P:xy, R:42."""
    seed: Seed = 0
    """Seed of weights, batches and training distortions."""
    dataset: str | None = None
    """The data set; left out: the config's."""
    recipe: RecipeField | None = None
    """Recipe by which it is trained; left out: the config's."""


class GridConfig(Described):
    """Contents of one YAML file: the product of the axes, and cells that are listed one by one.

    Axes left out are the paper's. If `cells` is given without any axis, there is no product.
    """

    name: Name = "grid"
    """Name of the config; left out: that of its file."""
    dataset: str = "digits"
    """The data set."""
    recipe: RecipeField = RecipeChoice()
    """Recipe by which cells are trained: its name, or a mapping of its name and changed fields."""
    models: tuple[ModelField, ...] | None = None
    """Networks; left out: the paper's four."""
    transforms: tuple[str, ...] | None = None
    """Transforms of spatial transformers, and none for networks without one; left out: those of
    the paper that the models take."""
    distortions: tuple[str, ...] | None = None
    """Distortions, with a variant or a canvas where it is not the default: R, P:xy, R:42; left out:
    the paper's R, RTS, P, E."""
    seeds: tuple[Seed, ...] | None = None
    """Seeds of weights, batches and training distortions; left out: 0 alone."""
    cells: tuple[CellChoice, ...] = ()
    """Cells listed one by one, in addition to the product of the axes that are named."""
    plugins: tuple[ModuleName, ...] = ()
    """Python modules with components of your own."""
    needs: Needs = Needs()
    """Ray resources of a worker that trains these cells; they do not affect results."""
    no_progress_seconds: Positive | None = None
    """Time without progress after which a cell's worker is ended; left out: the service's, 1800."""
    evaluate: Evaluate | None = None
    """Other test sets on which trained cells are tested; left out: their own one alone."""

    @field_validator("models", "transforms", "distortions", "seeds", "plugins")
    @classmethod
    def _axis(cls, axis: tuple[Any, ...] | None, info: Any) -> tuple[Any, ...] | None:
        if axis is None:
            return axis
        if not axis and info.field_name != "plugins":
            raise ValueError("an empty axis: name at least one, or leave the field out")
        duplicates = sorted(name for name, count in Counter(map(str, axis)).items() if count > 1)
        if duplicates:
            other = "; `as` gives one another name" if info.field_name == "models" else ""
            raise ValueError(f"named twice: {', '.join(duplicates)}{other}")
        return axis

    @model_validator(mode="after")
    def _trains_or_not(self) -> GridConfig:
        if self.evaluate is not None and self.evaluate.of == "config" and self.evaluate.filters:
            raise ValueError("evaluate.filters: with `of: store` alone; a config names its cells")
        if self.trains:
            return self
        fields = {"dataset", "recipe", "models", "transforms", "distortions", "seeds", "cells"}
        if named := sorted(fields & self.model_fields_set):
            raise ValueError(
                f"{', '.join(named)}: `evaluate` with `of: store` trains nothing; its filters say "
                "which cells of the store are meant"
            )
        return self

    @property
    def trains(self) -> bool:
        """Whether it has cells of its own."""
        return self.evaluate is None or self.evaluate.of == "config"

    @property
    def has_axes(self) -> bool:
        """Whether there is a product of axes in addition to the cells listed one by one."""
        axes = (self.models, self.transforms, self.distortions, self.seeds)
        return self.trains and (not self.cells or any(axis is not None for axis in axes))
