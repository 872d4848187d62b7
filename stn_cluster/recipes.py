"""Recipes: how a cell is trained. Plain data, without torch, so a config can be checked anywhere.

A field's default never changes: only fields that differ from it enter a cell's key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from stn_cluster.errors import first_error, unknown
from stn_cluster.grid import Frozen

Count = Annotated[int, Field(ge=1, strict=True)]  # `true` is no 1
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
MAX_FILTERS = 1024
FADING = 0.1  # the part of the steps, the last, in which the jitter of theta fades to nothing


class Recipe(Frozen):
    """One training recipe; the paper's own choices are in section 4.1 and its appendix."""

    iterations: Count
    batch_size: Annotated[Count, Field(le=65536)]  # images a step; another one is another stream
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive  # the peak of the schedule
    schedule: Literal["constant", "step", "one-cycle"]

    step_every: Count | None = None  # `step`: iterations between drops
    step_factor: Positive = 0.1  # `step`: what each drop multiplies the rate by
    warmup: Fraction = 0.0  # `one-cycle`: the part of the iterations spent rising to the peak
    momentum: Fraction = 0.0  # sgd
    beta2: Fraction = 0.999  # adamw: how slowly its mean of squared gradients forgets
    weight_decay: Amount = 0.0
    # What it falls on: everything, or all but biases, other one-dimensional parameters and theta's
    # layer.
    decay: Literal["all", "weights"] = "all"
    # A large early step in theta never recovers; the localisation net may learn more slowly.
    localisation_rate: Positive = 1.0  # its learning rate, as a multiple of learning_rate

    # The peak rate of Muon, which then trains the weights of inner convolutions (the CNN's second)
    # outside localisation nets; 0.02 to 0.1. None: they are trained as all others.
    muon_rate: Positive | None = None

    # What the loss takes from the true class and spreads evenly over all (Szegedy et al. 2016).
    label_smoothing: Fraction = 0.0
    dropout: Fraction = 0.0  # behind each hidden layer of a fully connected classifier
    # How slowly a running average of the weights forgets, from half of the steps on; it is what is
    # tested and kept. 0: the last weights are.
    ema: Fraction = 0.0
    # Training images are bent by a thin plate spline whose 4x4 points move by N(0, this), in pixels
    # of the distorted image; test images never are.
    image_jitter: Amount = 0.0
    # Noise on theta in training, as a multiple of what the transform calls mild; it fades away in
    # the last tenth of the steps.
    theta_jitter: Amount = 0.0

    # Of each convolution (paper: 32 to 64), or of the first and of the second one: [32, 64].
    filters: int | tuple[int, int] = 64
    hidden_units: Annotated[Count, Field(le=4096)] = 256  # of each layer (paper: 128 to 256)
    # None: the transformer's output has the input's size and is average-pooled by 2 on a large
    # canvas, as published; a number: it samples straight onto a grid of that many pixels squared,
    # no fewer than the CNN behind it needs.
    transformer_size: Annotated[Count, Field(ge=21, le=256)] | None = None
    # Of what convolutions multiply (stn/precision.py); all else is float32. Best given `by_model`:
    # it is in the key of models without convolutions, too.
    precision: Literal["float32", "bf16"] = "float32"

    # `he`: no layer's signal shrinks and no bias hides it, so that no unit is dead from the start.
    initialisation: Literal["pytorch", "he"] = "pytorch"

    evaluate_every: Count | None = None  # iterations; None: at the end only
    by_model: dict[str, dict[str, JsonValue]] = {}  # fields that differ for a model, by its name

    @field_validator("filters", mode="before")
    @classmethod
    def _widths(cls, filters: Any) -> Any:
        pair = isinstance(filters, list | tuple) and len(filters) == 2
        widths = tuple(filters) if pair else (filters,)
        if not all(type(width) is int and 1 <= width <= MAX_FILTERS for width in widths):
            raise ValueError(f"1 to {MAX_FILTERS}, or two such numbers, as in [32, 64]")
        return widths if len(set(widths)) == 2 else widths[0]  # one recipe, one key

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
                first, reason = first_error(error.errors())
                if first["type"] == "extra_forbidden":
                    reason = unknown("field", first["loc"][-1], Recipe.model_fields)
                where = ".".join(["by_model", model, *map(str, first["loc"])])
                raise ValueError(f"{where}: {reason}") from None
        return self

    def for_model(self, model: str) -> Recipe:
        """The recipe with this model's own fields in place."""
        if model not in self.by_model:
            return self
        fields: dict[str, Any] = self.model_dump(exclude={"by_model"})
        return type(self).model_validate(fields | self.by_model[model])

    @property
    def widths(self) -> tuple[int, int]:
        """Filters of the first and of the second convolution."""
        return (self.filters, self.filters) if isinstance(self.filters, int) else self.filters

    def at(self, step: int) -> tuple[float, ...]:
        """What changes from step to step: rate, jitter of theta, and the average's new part."""
        averaging = 1 - self.ema if 2 * step >= self.iterations else 1.0
        return self.lr_at(step), self.jitter_at(step), averaging

    def jitter_at(self, step: int) -> float:
        """The multiple of theta's mild jitter that step `step` has."""
        left = (self.iterations - 1 - step) / self.iterations
        return self.theta_jitter * min(1.0, left / FADING)

    def lr_at(self, step: int) -> float:
        """The learning rate of step `step` (0 to iterations - 1)."""
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
    """As published: 150k steps of plain SGD, the rate divided by 10 every 50k (section 4.1).

    Momentum is not published. On R, which is unambiguous, FCN comes to the paper's error with 0.9,
    and to twice that without: see configs/readings.yaml.
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
    """Ours: AdamW with a linear one-cycle schedule, smoothed labels and narrow CNNs.

    Transformers sample straight onto 28x28. The steps are what two CPU cores do in two hours for
    the whole grid; fully connected models, an eighth of the work, get more of them. Tuned on
    `mnist-validation`: jobs/tuning.py shows what each change brings.
    """
    return Recipe(
        iterations=11_000,
        batch_size=128,
        optimizer="adamw",
        learning_rate=4e-3,
        beta2=0.99,
        label_smoothing=0.1,
        schedule="one-cycle",
        warmup=0.15,
        filters=32,
        transformer_size=28,
        by_model={"FCN": {"iterations": 80_000}, "ST-FCN": {"iterations": 42_000}},
    )


def smoke() -> Recipe:
    """A few steps of tiny networks: shows that everything runs, not what it can learn."""
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
