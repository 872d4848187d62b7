"""The Parquet result store: a folder or URI that pandas, DuckDB, Polars and pyarrow can read.

Imports neither torch nor ray.
"""

from stn_cluster.store.export import EXPORTS, as_csv, as_file, as_json, export, from_parquet
from stn_cluster.store.frames import as_frame
from stn_cluster.store.loading import load_results
from stn_cluster.store.outdated import OutdatedWarning
from stn_cluster.store.predictions import (
    FULL,
    StoredLabels,
    load_predictions,
    predictions_of,
    read_classes,
    read_labels,
)
from stn_cluster.store.published import is_published, refuse_published, rerun_command
from stn_cluster.store.record import Record
from stn_cluster.store.row_filters import FILTERS, matching, select
from stn_cluster.store.row_order import TABLE_ORDER, in_table_order, newest
from stn_cluster.store.schema import (
    CELLS,
    CURVES,
    EVALUATIONS,
    PREDICTIONS,
    SCHEMA_VERSION,
    SCHEMAS,
    TEST_SETS,
    VERIFICATIONS,
    Kind,
)
from stn_cluster.store.some_rows import read_where
from stn_cluster.store.store import Store
from stn_cluster.store.stored_evaluations import (
    EVALUATION_FILTERS,
    TEST_FILTERS,
    count_due,
    load_evaluations,
)
from stn_cluster.store.stored_logs import StoredLog, stored_logs
from stn_cluster.store.uris import redact, without_end
from stn_cluster.store.verifications import (
    Difference,
    Verification,
    add_verifications,
    differences,
    load_verifications,
)

__all__ = [
    "CELLS",
    "CURVES",
    "EVALUATIONS",
    "EVALUATION_FILTERS",
    "EXPORTS",
    "FILTERS",
    "FULL",
    "PREDICTIONS",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "TABLE_ORDER",
    "TEST_FILTERS",
    "TEST_SETS",
    "VERIFICATIONS",
    "Difference",
    "Kind",
    "OutdatedWarning",
    "Record",
    "Store",
    "StoredLabels",
    "StoredLog",
    "Verification",
    "add_verifications",
    "as_csv",
    "as_file",
    "as_frame",
    "as_json",
    "count_due",
    "differences",
    "export",
    "from_parquet",
    "in_table_order",
    "is_published",
    "load_evaluations",
    "load_predictions",
    "load_results",
    "load_verifications",
    "matching",
    "newest",
    "predictions_of",
    "read_classes",
    "read_labels",
    "read_where",
    "redact",
    "refuse_published",
    "rerun_command",
    "select",
    "stored_logs",
    "without_end",
]
