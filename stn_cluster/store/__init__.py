"""The Parquet result store: a folder or URI that pandas, DuckDB, Polars and pyarrow read as it is.

Loads neither torch nor ray.
"""

from stn_cluster.store.frames import FILTERS, in_table_order, newest, select
from stn_cluster.store.record import Record
from stn_cluster.store.schema import (
    CELLS,
    CURVES,
    EVALUATIONS,
    PREDICTIONS,
    SCHEMA_VERSION,
    SCHEMAS,
    Kind,
)
from stn_cluster.store.store import Store, load_results
from stn_cluster.store.uris import shown

__all__ = [
    "CELLS",
    "CURVES",
    "EVALUATIONS",
    "FILTERS",
    "PREDICTIONS",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Kind",
    "Record",
    "Store",
    "in_table_order",
    "load_results",
    "newest",
    "select",
    "shown",
]
