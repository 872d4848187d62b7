"""What a config says of evaluations: on which test sets trained cells are tested, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

LARGEST_SEVERITY = 3.0
LARGEST_WORST_OF = 100
MAX_LISTED = 1000  # values of a field
CLEAN = "clean"  # the test set without any distortion
TEST_DISTORTIONS = (CLEAN, "R", "RTS", "P", "E")

Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _listed(given: Any) -> Any:
    """One value as a list of one."""
    return (given,) if isinstance(given, str | int | float) else given


Severities = Annotated[
    tuple[
        # -0.0, which is as large as 0, would be another test set.
        Annotated[float, Field(ge=0, le=LARGEST_SEVERITY), AfterValidator(lambda it: it + 0.0)], ...
    ],
    Field(min_length=1, max_length=MAX_LISTED),
    BeforeValidator(_listed),
]
Words = Annotated[
    tuple[Word, ...], Field(min_length=1, max_length=MAX_LISTED), BeforeValidator(_listed)
]
Values = Annotated[
    tuple[int | str, ...], Field(min_length=1, max_length=MAX_LISTED), BeforeValidator(_listed)
]


class Evaluate(BaseModel):
    """Test sets on which trained cells are evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    of: Literal["config", "store"] = "config"
    """Which cells: those of the config, once they are trained; or those that the store has, and
    then nothing is trained."""
    on: Words = TEST_DISTORTIONS
    """Test distortions: clean, or a distortion, with a variant or a severity of its own, as in
    P:xy@1.5. The canvas is that of each cell."""
    severity: Severities = (1.0,)
    """How strong they are: 0 to 3, 1 as in training."""
    worst_of: Annotated[int, Field(ge=1, le=LARGEST_WORST_OF, strict=True)] = 1
    """Number of draws of each image, of which the worst one counts; 1: no such rows."""
    dataset: Word | None = None
    """The data set whose test images they are; left out: that of each cell."""
    filters: dict[
        Literal["dataset", "recipe", "model", "transform", "distortion", "seed", "key"], Values
    ] = {}
    """With `of: store`, which cells: wanted values by field."""
