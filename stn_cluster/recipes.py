"""Recipes: how a cell is trained. Plain data without torch, so that configs are checked anywhere.

A field's default never changes: only fields that differ from it enter a cell's key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from stn_cluster.errors import first_error
from stn_cluster.grid import Described

# Strict: `true` is not accepted as 1. Larger numbers are not the same in every database and JSON.
Count = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
MAX_FILTERS = 1024
FADING = 0.1  # the last part of the steps, in which the jitter of theta decreases to 0


class Shape(Described):
    """Fields of a recipe that the network is built from."""

    dropout: Fraction = 0.0
    """Fraction that is dropped after each hidden layer of a fully connected classifier."""
    filters: int | tuple[int, int] = 64
    """Number of filters of each convolution (paper: 32 to 64), or of the first and the second one:
    [32, 64]."""
    hidden_units: Annotated[Count, Field(le=4096)] = 256
    """Units of each hidden fully connected layer (paper: 128 to 256)."""
    transformer_size: Annotated[Count, Field(ge=21, le=256)] | None = None
    """Height and width of the transformer's output in 28ths of the frame, that is in pixels on
    MNIST's; at least what the CNN needs as input. None, as published: the input's size,
    average-pooled by 2 on a large canvas."""
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the products in convolutions (stn/precision.py); all else is float32. Best set
    in `by_model`, as it also changes the keys of models without convolutions."""

    @field_validator("filters", mode="before")
    @classmethod
    def _widths(cls, filters: Any) -> Any:
        pair = isinstance(filters, list | tuple) and len(filters) == 2
        widths = tuple(filters) if pair else (filters,)
        if not all(type(width) is int and 1 <= width <= MAX_FILTERS for width in widths):
            raise ValueError(f"1 to {MAX_FILTERS}, or two such numbers, as in [32, 64]")
        return widths if len(set(widths)) == 2 else widths[0]  # one recipe, one key

    @property
    def widths(self) -> tuple[int, int]:
        """Number of filters of the first and of the second convolution."""
        return (self.filters, self.filters) if isinstance(self.filters, int) else self.filters


class Recipe(Shape):
    """One training recipe; the paper's own choices are in section 4.1 and its appendix."""

    iterations: Count
    """Training steps."""
    batch_size: Annotated[Count, Field(le=65536)]
    """Images a step; another one is another stream."""
    optimizer: Literal["sgd", "adamw"]
    """Optimisation algorithm."""
    learning_rate: Positive
    """Peak of the schedule."""
    schedule: Literal["constant", "step", "one-cycle"]
    """How the learning rate changes: not, in drops, or up to the peak and down to 0."""

    step_every: Count | None = None
    """`step`: iterations between drops."""
    step_factor: Positive = 0.1
    """`step`: factor by which each drop multiplies the learning rate."""
    warmup: Fraction = 0.0
    """`one-cycle`: fraction of the iterations spent rising to the peak."""
    momentum: Fraction = 0.0
    """`sgd`: momentum."""
    beta2: Fraction = 0.999
    """`adamw`: decay rate of its mean of squared gradients."""
    weight_decay: Amount = 0.0
    """Weight decay: of `sgd`, added to the gradient; of `adamw` and Muon, decoupled."""
    decay: Literal["all", "weights"] = "all"
    """Parameters that weight decay applies to: all, or all except biases, other one-dimensional
    parameters and the layer that computes theta."""
    localisation_rate: Positive = 1.0
    """Learning rate of the localisation net, as a multiple of learning_rate. Training never
    recovers from a large early step in theta, so that net may learn more slowly."""

    muon_rate: Positive | None = None
    """Peak learning rate of Muon, usually 0.02 to 0.1. Muon then trains the weights of inner
    convolutions (the CNN's second one) outside localisation nets. None: `optimizer` trains all."""

    label_smoothing: Fraction = 0.0
    """Share of the target that is spread evenly over all classes (Szegedy et al. 2016)."""
    ema: Fraction = 0.0
    """Decay rate of an exponential moving average of the weights, which starts after half of the
    steps and is then tested and stored. 0: the last weights are tested and stored."""
    image_jitter: Amount = 0.0
    """Training images are warped by a thin plate spline whose 4x4 points move by N(0, this), in
    pixels of the distorted image of a frame of 28 (on others it scales); test images are not."""
    theta_jitter: Amount = 0.0
    """Noise on theta in training, as a multiple of what the transform calls mild; decreases to 0 in
    the last tenth of the steps."""

    initialisation: Literal["pytorch", "he"] = "pytorch"
    """`he`: keeps the signal's scale in every layer, with zero biases, so that no unit is dead from
    the start."""

    evaluate_every: Count | None = None
    """Iterations between tests; None: only at the end."""
    by_model: dict[str, dict[str, JsonValue]] = {}
    """Fields that differ for a model, by its name."""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Recipe:
        if self.schedule == "step" and self.step_every is None:
            raise ValueError("schedule 'step' needs step_every")
        for model, fields in self.by_model.items():
            if "by_model" in fields:
                raise ValueError(f"by_model.{model} cannot change by_model")
            try:
                self.for_model(model)
            except ValidationError as error:
                first, reason = first_error(error.errors(), lambda path: Recipe.model_fields)
                where = ".".join(["by_model", model, *map(str, first["loc"])])
                raise ValueError(f"{where}: {reason}") from None
        return self

    def for_model(self, model: str) -> Recipe:
        """The recipe with this model's own fields applied."""
        if model not in self.by_model:
            return self
        fields: dict[str, Any] = self.model_dump(exclude={"by_model"})
        return type(self).model_validate(fields | self.by_model[model])

    def at(self, step: int) -> tuple[float, ...]:
        """Values of one step: learning rate, jitter of theta, weight of the step in the average."""
        averaging = 1 - self.ema if 2 * step >= self.iterations else 1.0
        return self.lr_at(step), self.jitter_at(step), averaging

    def jitter_at(self, step: int) -> float:
        """Jitter of theta at step `step`, as a multiple of the transform's mild jitter."""
        remaining = (self.iterations - 1 - step) / self.iterations
        return self.theta_jitter * min(1.0, remaining / FADING)

    def lr_at(self, step: int) -> float:
        """Learning rate of step `step` (0 to iterations - 1)."""
        if self.schedule == "step":
            assert self.step_every is not None
            return float(self.learning_rate * self.step_factor ** (step // self.step_every))
        if self.schedule == "one-cycle":
            rising = self.warmup * self.iterations
            if step < rising:
                return self.learning_rate * (step + 1) / (rising + 1)
            return self.learning_rate * (self.iterations - step) / (self.iterations - rising)
        return self.learning_rate


def paper() -> Recipe:
    """The paper's recipe: 150k steps of SGD, the learning rate divided by 10 every 50k (section
    4.1).

    The paper does not mention momentum. On R, which is unambiguous, FCN reaches the paper's error
    with 0.9 and has twice that error without: see configs/readings.yaml.
    """
    return Recipe(
        iterations=150_000,
        batch_size=256,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="step",
        step_every=50_000,
        momentum=0.9,
    )


def fast() -> Recipe:
    """Our recipe: AdamW with a linear one-cycle schedule and smoothed labels.

    Transformers sample directly onto 28x28, and no network has more than 400,000 parameters on
    MNIST. Fully connected models have a batch size and rate of their own and learn from 10 million
    images, as they cost a twentieth as much per image; convolutional ones learn from 2.4 million.
    Two cores of an Intel Xeon train the whole grid in six to seven hours. Tuned on
    `mnist-validation-5`: results/tuning shows the effect of each change.
    """
    return Recipe(
        iterations=18_750,
        batch_size=128,
        optimizer="adamw",
        learning_rate=4e-3,
        beta2=0.99,
        label_smoothing=0.1,
        schedule="one-cycle",
        warmup=0.15,
        filters=(32, 64),
        transformer_size=28,
        by_model={
            "FCN": {
                "iterations": 40_000,
                "batch_size": 256,
                "learning_rate": 2e-3,
                "hidden_units": 200,
            },
            "ST-FCN": {
                "iterations": 42_000,
                "batch_size": 256,
                "learning_rate": 2e-3,
                "theta_jitter": 1.0,
            },
        },
    )


def smoke() -> Recipe:
    """A few steps of tiny networks: shows that everything runs, without learning anything."""
    return Recipe(
        iterations=8,
        batch_size=16,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="constant",
        filters=4,
        hidden_units=16,
        transformer_size=28,
    )
