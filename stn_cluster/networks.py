"""Models as a config chooses them: a registered one, and what is done with it."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

_NAME = re.compile(r"[^\s:/+.-][^\s:/+]*(:[^\s:/+]+)?")
NAME_RULE = "one ':' at most, no '/', '+' or blanks, not empty, no '-' or '.' first"

Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,)),
]


def is_model_name(name: str) -> bool:
    """Whether a model may have this name: see `NAME_RULE`."""
    return name.isprintable() and _NAME.fullmatch(name) is not None


class Network(BaseModel):
    """Composition of a cell's model, where it is more than the registered model of its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # of the registered model
    # The model subtracts one and divides by the other: a number, or one for each channel.
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    weights: str | None = None  # file, relative to the data root: evaluated and not trained
    digest: str | None = None  # of that file


class ModelChoice(BaseModel):
    """A model of a config: its name, or a mapping of these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The network: a model's name."""
    shown_as: str | None = Field(default=None, alias="as")
    """Its name everywhere; left out: `name`."""
    weights: str | None = None
    """File below the data root (safetensors, or a state dict): it is tested and not trained."""
    mean: Numbers | None = None
    """Mean of each channel, of values 0 to 1, that is subtracted within the model."""
    std: Numbers | None = None
    """Standard deviation of each channel, by which it is divided within the model."""

    def __str__(self) -> str:
        return self.shown_as or self.name

    def __repr__(self) -> str:
        return repr(str(self))

    @field_validator("shown_as")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not is_model_name(name):
            raise ValueError(f"a model's name has {NAME_RULE}")
        return name

    @field_validator("weights")
    @classmethod
    def _below_the_data_root(cls, file: str | None) -> str | None:
        if file is None:
            return file
        parts = file.split("/")
        too_long = len(file) > 1000 or max(map(len, parts)) > 255
        if too_long or not file.isprintable() or "\\" in file or {"", ".", ".."} & set(parts):
            raise ValueError("a file below the data root, as in signs.safetensors, without '..'")
        return file

    @model_validator(mode="after")
    def _fit_together(self) -> ModelChoice:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both, or none")
        if self.mean is not None and self.std is not None:
            if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
                raise ValueError("mean and std: one number each, or one for each channel")
            if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
                raise ValueError("mean and std: finite, and std above 0")
        return self

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        fields = {"as": self.shown_as, "weights": self.weights}
        fields |= {name: list(v) for name, v in (("mean", self.mean), ("std", self.std)) if v}  # type: ignore[misc]
        others = {name: value for name, value in fields.items() if value is not None}
        return {"name": self.name, **others} if others else self.name

    @property
    def is_plain(self) -> bool:
        """Whether it is the registered model of its name, and nothing else."""
        return self == ModelChoice(name=self.name)


ModelField = Annotated[
    ModelChoice,
    BeforeValidator(
        lambda given: {"name": given} if isinstance(given, str) else given,
        json_schema_input_type=str | ModelChoice,
    ),
]
