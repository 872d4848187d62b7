"""What tests of training share."""

from __future__ import annotations

import pytest
from support.packs import arithmetic, make_cells, train

from stn_cluster.data.cache import DataCache


@pytest.fixture(scope="module")
def alone(data: DataCache) -> tuple[object, ...]:
    """What the pack mate comes to alone."""
    [fcn] = make_cells(models=["FCN"])
    return arithmetic(train([fcn], data)[fcn.key])
