"""Schemas of the store's Parquet files.

Columns are only ever added, and each addition raises SCHEMA_VERSION; a column's type never changes.
docs/store.md documents the columns.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 2

Kind = Literal["cells", "curves", "predictions", "test_sets", "evaluations", "verifications"]

_TEXT, _COUNT, _NUMBER = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("us", tz="UTC")
_VERSION = ("schema_version", pa.int32())
# One number per test image, in the test set's order. The first has room for up to 256 classes.
_CLASSES, _WIDE_CLASSES = pa.list_(pa.uint8()), pa.list_(pa.uint16())
_PROBABILITIES = pa.list_(pa.uint16())  # in 65,535ths

# One row for each attempt that ended its cell. Writing it is the cell's commit point.
CELLS = pa.schema(
    [
        ("key", _TEXT),
        ("label", _TEXT),
        ("model", _TEXT),
        ("transform", _TEXT),
        ("distortion", _TEXT),
        ("seed", _COUNT),
        ("dataset", _TEXT),
        ("recipe", _TEXT),
        ("job_id", _TEXT),
        ("attempt", _TEXT),
        ("status", _TEXT),  # succeeded or failed
        ("error", _TEXT),  # text of a failure
        ("test_error", _NUMBER),  # percent
        ("test_accuracy", _NUMBER),  # 0 to 1
        ("n_test", _COUNT),
        ("n_wrong", _COUNT),
        ("train_loss", _NUMBER),
        ("parameters", _COUNT),
        ("iterations", _COUNT),
        ("images_per_second", _NUMBER),  # this and the next: the cell's share of its pack
        ("train_seconds", _NUMBER),
        ("pack_size", _COUNT),
        ("device", _TEXT),
        ("host", _TEXT),
        ("started_at", _TIME),
        ("finished_at", _TIME),
        ("accepted_at", _TIME),  # strictly increasing within the store: the order of the rows
        ("stn_cluster_version", _TEXT),
        ("git_commit", _TEXT),
        ("torch_version", _TEXT),
        ("spec", _TEXT),  # the cell as JSON
        _VERSION,
        # Row-major: true class, then predicted class; null above 256 classes.
        ("confusion", pa.list_(pa.int32())),
    ]
)

CURVES = pa.schema(
    [
        ("key", _TEXT),
        ("attempt", _TEXT),
        ("step", _COUNT),
        ("train_loss", _NUMBER),
        ("lr", _NUMBER),
        ("test_error", _NUMBER),  # percent; null at steps that were not evaluated
        _VERSION,
    ]
)

# The two most likely classes of each test image, by the softmax of the trained model.
PREDICTIONS = pa.schema(
    [
        ("key", _TEXT),
        ("attempt", _TEXT),
        ("test_set", _TEXT),
        ("predictions", _CLASSES),
        ("second", _CLASSES),
        ("confidence", _PROBABILITIES),  # probability of the first class
        ("second_confidence", _PROBABILITIES),
        ("predictions_wide", _WIDE_CLASSES),  # for more than 256 classes; the others are then null
        ("second_wide", _WIDE_CLASSES),
        _VERSION,
    ]
)

# One row per test set, in a file named after it. Image i is a version of base image
# i mod (n / repeats).
TEST_SETS = pa.schema(
    [
        ("test_set", _TEXT),
        ("dataset", _TEXT),
        ("revision", _TEXT),  # revision of the data set
        ("repeats", _COUNT),  # distorted versions of each base image
        ("labels", pa.list_(pa.uint16())),  # true class of each image
        ("class_names", pa.list_(pa.string())),  # null if classes are named by their numbers
        _VERSION,
    ]
)

# Evaluations of trained cells on other test sets.
EVALUATIONS = pa.schema(
    [
        ("evaluation", _TEXT),  # 16 hex digits: hash of weights, test set and revisions
        ("key", _TEXT),
        ("attempt", _TEXT),
        ("weights", _TEXT),  # the cell's key, or the digest of a file of weights
        ("test_set", _TEXT),
        ("dataset", _TEXT),
        ("distortion", _TEXT),
        ("variant", _TEXT),
        ("canvas", _COUNT),  # px
        ("severity", _NUMBER),  # 0 to 3; 1 in the standard test set
        ("worst_of", _COUNT),  # draws per image; 1 in the standard test set
        ("status", _TEXT),  # succeeded or failed
        ("error", _TEXT),
        ("n_test", _COUNT),
        ("n_wrong", _COUNT),
        ("ink_lost", _NUMBER),
        ("pose_degrees", _NUMBER),
        ("pose_log2_scale", _NUMBER),
        ("pose_shift_px", _NUMBER),
        ("pose_residual_px", _NUMBER),
        ("identity_degrees", _NUMBER),  # this and the next three: without a transformer
        ("identity_log2_scale", _NUMBER),
        ("identity_shift_px", _NUMBER),
        ("identity_residual_px", _NUMBER),
        ("predictions", _CLASSES),
        ("predictions_wide", _WIDE_CLASSES),
        ("device", _TEXT),
        ("job_id", _TEXT),
        ("accepted_at", _TIME),
        _VERSION,
    ]
)

# Cells that were trained again elsewhere, and compared with what is stored of them.
VERIFICATIONS = pa.schema(
    [
        ("key", _TEXT),
        ("attempt", _TEXT),  # the stored one, that was verified
        ("device", _TEXT),  # this and the next: of the training that verified it
        ("torch", _TEXT),
        ("n_test", _COUNT),
        ("n_differ", _COUNT),  # test images with another predicted class
        # Whether probabilities and training losses are the same to the bit, too.
        ("identical", pa.bool_()),
        ("verified_at", _TIME),
        _VERSION,
    ]
)

SCHEMAS: dict[Kind, pa.Schema] = {
    "cells": CELLS,
    "curves": CURVES,
    "predictions": PREDICTIONS,
    "test_sets": TEST_SETS,
    "evaluations": EVALUATIONS,
    "verifications": VERIFICATIONS,
}
