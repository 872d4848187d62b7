"""The paper's transforms, for tests that hold for each of them."""

from __future__ import annotations

import pytest

from stn_cluster.stn import AffineGrid, ProjectiveGrid, ThinPlateSplineGrid

TRANSFORMS = (AffineGrid, ProjectiveGrid, ThinPlateSplineGrid)
every_transform = pytest.mark.parametrize("transform", TRANSFORMS)
