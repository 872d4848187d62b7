"""The shared spatial transformer core (Jaderberg et al. 2015, section 3): torch, and nothing else.

One coordinate convention holds everywhere. A grid is (N, H, W, 2) holding (x, y); -1 and 1 are the
outer *edges* of an image, so pixel j of W has its centre at (2j + 1) / W - 1 (`align_corners=False`
in PyTorch's words). Grids map target to source: grid[n, i, j] is where output pixel (i, j) is read.
"""

from stn_cluster.stn.dropout import Dropout
from stn_cluster.stn.grids import (
    AffineGrid,
    GridGenerator,
    ProjectiveGrid,
    ThinPlateSplineGrid,
    pixel_centres,
)
from stn_cluster.stn.localisation import ConvLocalisation, LinearLocalisation
from stn_cluster.stn.models import Task
from stn_cluster.stn.sampler import BICUBIC, BILINEAR, NEAREST, Kernel, sample
from stn_cluster.stn.transformer import SpatialTransformer, Transformed

__all__ = [
    "BICUBIC",
    "BILINEAR",
    "NEAREST",
    "AffineGrid",
    "ConvLocalisation",
    "Dropout",
    "GridGenerator",
    "Kernel",
    "LinearLocalisation",
    "ProjectiveGrid",
    "SpatialTransformer",
    "Task",
    "ThinPlateSplineGrid",
    "Transformed",
    "pixel_centres",
    "sample",
]
