"""The shared spatial transformer core (Jaderberg et al. 2015, section 3). Needs only torch.

One coordinate convention holds everywhere. A grid is (N, H, W, 2) of (x, y); -1 and 1 are the
outer *edges* of an image, so pixel j of W has its centre at (2j + 1) / W - 1 (PyTorch's
`align_corners=False`). Grids map target to source: grid[n, i, j] is the source position of output
pixel (i, j).
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
