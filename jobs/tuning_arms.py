"""The base recipe and the arms that `tuning.py` compares, each spelled out.

They are data, and do not change when `fast` changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DATASET = "mnist-validation-5"
SEEDS = (0, 1)
Entry = tuple[str, str, str]  # model, transform, distortion

CNN_R: Entry = ("CNN", "none", "R")
CNN_RTS: Entry = ("CNN", "none", "RTS")  # five times the work of the others: in few arms
ST_CNN: tuple[Entry, ...] = (("ST-CNN", "affine", "R"), ("ST-CNN", "affine", "RTS"))
FCN: tuple[Entry, ...] = (("FCN", "none", "R"), ("FCN", "none", "RTS"))
ST_FCN: tuple[Entry, ...] = (("ST-FCN", "affine", "R"), ("ST-FCN", "affine", "RTS"))
CONVOLUTIONAL, CONNECTED = (CNN_R, *ST_CNN), (*FCN, *ST_FCN)
DISTORTIONS = ("R", "RTS")
SPATIAL, ALL = (*ST_CNN, *ST_FCN), (*CONVOLUTIONAL, *CONNECTED)

# The recipe that all arms change; what is not named here is at its default.
BASE: dict[str, Any] = {
    "iterations": 1,  # as many as see IMAGES
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "schedule": "one-cycle",
    "warmup": 0.15,
    "beta2": 0.99,
    "label_smoothing": 0.1,
    "filters": 32,
    "hidden_units": 256,
    "transformer_size": 28,
}
EPOCH = 60_000  # images
# At full length, by model: what a cell sees in all.
IMAGES = {
    "CNN": 11_000 * 128,
    "ST-CNN": 11_000 * 128,
    "FCN": 80_000 * 128,
    "ST-FCN": 42_000 * 128,
}


@dataclass(frozen=True)
class Arm:
    """One change of the recipe, for the models in its panel."""

    name: str
    panel: tuple[Entry, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None  # at full length; None: as the base
    against: str | None = None  # the arm that it is compared with; None: the base


def _rates(prefix: str, panel: tuple[Entry, ...], batch: int, *rates: str) -> tuple[Arm, ...]:
    return tuple(
        Arm(f"{prefix}-{batch}-{rate}", panel, {"batch_size": batch, "learning_rate": float(rate)})
        for rate in rates
    )


def _width(name: str, filters: int | list[int], epochs: int) -> Arm:
    against = None if name == "32x60" else "32x60"
    return Arm(name, CONVOLUTIONAL, {"filters": filters}, epochs * EPOCH, against)


ARMS: tuple[Arm, ...] = (
    # A batch size and a peak rate for each family; as many images, so more or fewer steps.
    *_rates("conv", CONVOLUTIONAL, 128, "6e-3"),
    *_rates("conv", CONVOLUTIONAL, 64, "4e-3", "6e-3"),
    *_rates("conv", CONVOLUTIONAL, 32, "4e-3", "6e-3"),
    *_rates("fc", CONNECTED, 128, "1e-3", "2e-3"),
    *_rates("fc", CONNECTED, 256, "1e-3", "2e-3", "4e-3"),
    *(Arm(f"theta-{x}", SPATIAL, {"theta_jitter": x}) for x in (0.5, 1.0, 2.0)),
    *(Arm(f"elastic-{x}", ALL, {"image_jitter": x}) for x in (0.5, 0.8)),
    Arm("elastic-0.5-cnn-rts", (CNN_RTS,), {"image_jitter": 0.5}),
    *(Arm(f"decay-{x}", ALL, {"weight_decay": x, "decay": "weights"}) for x in (0.05, 0.1)),
    *(Arm(f"dropout-{x}", CONNECTED, {"dropout": x}) for x in (0.1, 0.2)),
    Arm("units-200", FCN, {"hidden_units": 200}),  # on 42x42, 256 are more than 400k parameters
    Arm("twice", ST_FCN, images=2 * IMAGES["ST-FCN"]),
    Arm("pooled", ST_FCN[1:], {"transformer_size": None}),  # as published: RTS comes to 21x21
    Arm("he", (CNN_R, FCN[0], *SPATIAL), {"initialisation": "he"}),
    *(Arm(f"muon-{x}", CONVOLUTIONAL, {"muon_rate": x}) for x in (0.02, 0.05)),
    Arm("ema-0.999", (CNN_R, FCN[0], *SPATIAL), {"ema": 0.999}),
    # Width or length, at about equal compute.
    _width("32x60", 32, 60),
    _width("32-64x40", [32, 64], 40),
    _width("48x33", 48, 33),
    _width("64x20", 64, 20),
    Arm("32x60-cnn-rts", (CNN_RTS,), {}, 60 * EPOCH),
    Arm("32-64x40-cnn-rts", (CNN_RTS,), {"filters": [32, 64]}, 40 * EPOCH, "32x60-cnn-rts"),
)
BY_NAME = {arm.name: arm for arm in ARMS}
