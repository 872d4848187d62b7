"""Published numbers that the table compares ours with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import PAPER_DISTORTIONS, base_distortion

# Jaderberg et al. 2015 (arXiv 1506.02025), Table 1 left: distorted MNIST, test error in percent.
_TABLE_1 = {
    ("FCN", "none"): (2.1, 5.2, 3.1, 3.2),
    ("CNN", "none"): (1.2, 0.8, 1.5, 1.4),
    ("ST-FCN", "affine"): (1.2, 0.8, 1.5, 2.7),
    ("ST-FCN", "projective"): (1.3, 0.9, 1.4, 2.6),
    ("ST-FCN", "tps"): (1.1, 0.8, 1.4, 2.4),
    ("ST-CNN", "affine"): (0.7, 0.5, 0.8, 1.2),
    ("ST-CNN", "projective"): (0.8, 0.6, 0.8, 1.3),
    ("ST-CNN", "tps"): (0.7, 0.5, 0.8, 1.1),
}

Reference = Mapping[tuple[str, str, str], float]  # (model, transform, distortion) -> percent

PAPER: Reference = MappingProxyType(
    {
        (model, transform, distortion): error
        for (model, transform), errors in _TABLE_1.items()
        for distortion, error in zip(PAPER_DISTORTIONS, errors, strict=True)
    }
)

REFERENCES: Mapping[str, Reference] = MappingProxyType({"paper": PAPER, "none": {}})


def find_reference(name: str) -> Reference:
    """Finds a reference by name; 'none' is an empty one.

    Raises:
        UserError: there is none.
    """
    if name not in REFERENCES:
        raise UserError(unknown("reference", name, REFERENCES), "reference")
    return REFERENCES[name]


def reference_error(reference: Reference, model: str, transform: str, distortion: str) -> float:
    """Published test error in percent, by the distortion's base name ('P:xy-42' is P), or NaN."""
    return reference.get((model, transform, base_distortion(distortion)), math.nan)
