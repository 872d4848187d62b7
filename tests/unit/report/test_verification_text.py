"""What a verification says, and when its check fails."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from support.records import make_cell, make_record

from stn_cluster.report.verification_text import broken, verification_text
from stn_cluster.store import Store, Verification

HERE = {"device": "a processor", "torch_version": "2.9"}


@pytest.fixture
def results(store: Store) -> pd.DataFrame:
    cells = [make_cell(model) for model in ("FCN", "CNN", "ST-CNN")]
    store.commit([make_record(cell, **HERE) for cell in cells])
    return store.results()


def verified(results: pd.DataFrame, row: int, **columns: Any) -> Verification:
    fields: dict[str, Any] = {
        **results.loc[row, ["key", "attempt"]],
        **{"device": "a processor", "torch": "2.9", "n_test": 1000, "n_differ": 0},
        **{"identical": True, "verified_at": datetime(2026, 1, 31, tzinfo=UTC)},
    }
    return Verification(**fields | columns)


def test_what_is_identical_holds(results: pd.DataFrame) -> None:
    found = [verified(results, 0), verified(results, 1)]
    assert broken(found, results) == []
    text = verification_text(found, results)
    assert re.split("  +", text.splitlines()[1]) == [
        *("FCN/none/R/seed0", "1,000", "0", "identical to the bit"),
        *("a processor, torch 2.9", "the same"),
    ]
    assert text.endswith("Identical to the bit: 2 of 2.\nCheck: nothing differs.\n")


@pytest.mark.parametrize(
    ("n_differ", "told"), [(12, "predictions differ"), (0, "predictions are the same, not all")]
)
def test_a_difference_on_the_same_kind_of_device_fails(
    results: pd.DataFrame, n_differ: int, told: str
) -> None:
    found = [verified(results, 0), verified(results, 1, n_differ=n_differ, identical=False)]
    assert broken(found, results) == ["CNN/none/R/seed0"]
    text = verification_text(found, results)
    assert told in text
    assert "Check failed (differs on the same kind of device): CNN/none/R/seed0." in text


def test_a_difference_on_another_kind_of_device_is_told_and_holds(results: pd.DataFrame) -> None:
    found = [verified(results, 0, device="a GPU", n_differ=12, identical=False)]
    assert broken(found, results) == []
    text = verification_text(found, results)
    assert "a GPU, torch 2.9" in text
    assert "a processor, torch 2.9" in text
    assert "Check: what differs was trained on another kind of device" in text


def test_cells_of_several_data_sets_are_told_apart_and_names_are_neutral(store: Store) -> None:
    cells = [make_cell(dataset="mnist"), make_cell("=\x1b[31mA1", dataset="digits")]
    store.commit([make_record(cell, **HERE) for cell in cells])
    results = store.results()
    text = verification_text([verified(results, 0), verified(results, 1)], results)
    assert "CNN/none/R/seed0 (mnist, smoke)" in text
    assert r"=\x1b[31mA1/none/R/seed0 (digits, smoke)" in text
    assert "\x1b" not in text
