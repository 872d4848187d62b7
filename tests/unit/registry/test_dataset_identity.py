"""What a data set's files contain is part of what its cells are."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.packs import train
from support.photographs import write_archive, write_folders

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import (
    file_digests,
    found_dataset,
    known_plugin,
    load_plugins,
    lookup,
    resolve,
)
from stn_cluster.training.preflight import check_cell

CPU = torch.device("cpu")
OLD = 1_000_000_000  # seconds: long before now, so that a digest is kept


def cells(root: Path, dataset: str = "signs", **fields: object) -> list[Cell]:
    given = {"models": ["FCN"], "distortions": ["R"], "recipe": {"name": "smoke", "iterations": 2}}
    return resolve(parse_config({"dataset": dataset, **given, **fields}), root)


def test_a_cell_has_the_digest_of_its_files_as_revision(tmp_path: Path) -> None:
    write_folders(tmp_path / "one", "signs", n_classes=2)
    write_folders(tmp_path / "two", "signs", n_classes=2)
    [here], [there] = cells(tmp_path / "one"), cells(tmp_path / "two")
    assert here == there
    assert here.data == DatasetInfo(frame=64, channels=3, n_classes=2, background=(0, 0, 0))
    assert len(str(here.revisions["dataset:signs"])) == 16
    Image.new("RGB", (64, 64)).save(tmp_path / "two" / "signs" / "test" / "place00" / "0.jpg")
    [changed] = cells(tmp_path / "two")
    assert changed.key != here.key
    assert changed.test_set != here.test_set
    (tmp_path / "one" / "signs" / "dataset.yaml").write_text("size: 32\n")
    [smaller] = cells(tmp_path / "one")
    assert (smaller.canvas, smaller.distortion) == (32, "R")
    assert smaller.key != here.key


def test_a_moved_image_is_another_data_set(tmp_path: Path) -> None:
    write_folders(tmp_path, "signs", n_classes=2)
    before = found_dataset("signs", tmp_path).revision
    train_images = tmp_path / "signs" / "train"
    (train_images / "place00" / "0.jpg").rename(train_images / "place01" / "9.jpg")
    assert found_dataset("signs", tmp_path).revision != before


def test_a_spec_can_be_read_back(tmp_path: Path) -> None:
    write_archive(tmp_path, "signs", 3, 12)
    [cell] = cells(tmp_path)
    again = Cell.model_validate_json(cell.model_dump_json())
    assert again == cell
    assert again.key == cell.key


def test_digests_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path, "signs", 3, 12)
    file = tmp_path / "signs.npz"
    computed = []
    digest = file_digests._digest
    monkeypatch.setattr(file_digests, "_digest", lambda f: computed.append(f) or digest(f))
    monkeypatch.setattr(file_digests, "SETTLED_SECONDS", -60.0)  # as if it had been there for long
    first = found_dataset("signs", tmp_path).revision
    assert [found_dataset("signs", tmp_path).revision for _ in range(3)] == [first] * 3
    assert computed == [file]
    os.utime(file, (OLD, OLD))
    assert found_dataset("signs", tmp_path).revision == first
    assert computed == [file, file]
    write_archive(tmp_path, "signs", 2, 12)
    assert found_dataset("signs", tmp_path).revision != first
    # Damaged, or nothing that can be written: computed anew.
    (tmp_path / ".stn-cluster" / "signs.digests.json").write_text("[torn")
    found_dataset("signs", tmp_path)
    assert len(computed) == 4


def test_a_file_that_was_just_written_is_looked_at_again(tmp_path: Path) -> None:
    """It may change once more without a new time."""
    write_archive(tmp_path, "signs", 3, 12)
    first = found_dataset("signs", tmp_path).revision
    file = tmp_path / "signs.npz"
    times = file.stat()
    content = bytearray(file.read_bytes())
    with np.load(file) as archive:
        pixels = archive["train_images"].tobytes()
    at = bytes(content).index(pixels[:64])
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert found_dataset("signs", tmp_path).revision != first


def test_a_worker_with_other_files_fails_the_cell_and_names_itself(tmp_path: Path) -> None:
    write_archive(tmp_path / "here", "signs", 3, 12)
    write_archive(tmp_path / "there", "signs", 2, 12)
    [cell] = cells(tmp_path / "here")
    [outcome] = train([cell], DataCache(tmp_path / "there", CPU)).values()
    assert outcome.error is not None
    assert outcome.error.startswith("UserError: data set 'signs': its files on ")
    assert socket.gethostname() in outcome.error
    assert str(tmp_path / "there") in outcome.error
    assert len(outcome.error.splitlines()) == 1
    [outcome] = train([cell], DataCache(tmp_path / "here", CPU)).values()
    assert outcome.error is None


def test_a_worker_that_has_older_files_in_memory_loads_the_new_ones(tmp_path: Path) -> None:
    data = DataCache(tmp_path, CPU)
    for n_classes in (3, 2):
        write_archive(tmp_path, "signs", n_classes, 12)
        [cell] = cells(tmp_path)
        [outcome] = train([cell], data).values()
        assert outcome.error is None
        assert outcome.labels is not None
        assert set(np.frombuffer(outcome.labels.classes, "<u2")) == set(range(n_classes))


PLUGIN = """
import numpy as np
from stn_cluster import register_dataset
from stn_cluster.data.datasets import Dataset

@register_dataset("mine", {declared})
def mine(root):
    pixels = np.load(root / "pixels.npy")
    return Dataset(pixels, np.arange(len(pixels)) % 2, pixels, np.arange(len(pixels)) % 2,
                   n_classes=2, background=7)
"""


def plugin(folder: Path, declared: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(PLUGIN.format(declared=declared))
    load_plugins(("mine",), [folder])


def test_a_plugin_names_its_files(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((6, 3, 12, 12), np.uint8))
    declared = "frame=12, channels=3, background=7, files=lambda root: ['pixels.npy']"
    plugin(tmp_path / "code", declared)
    [cell] = cells(tmp_path, "mine")
    assert cell.data == DatasetInfo(frame=12, channels=3, n_classes=None, background=(7, 7, 7))
    # The plug-in is found by its own digest, wherever the cell goes.
    assert cell.digests == {lookup("dataset", "mine").revision}
    assert all(known_plugin(digest) for digest in cell.digests)
    [outcome] = train([cell], DataCache(tmp_path, CPU)).values()
    assert outcome.error is None
    np.save(tmp_path / "pixels.npy", np.ones((6, 3, 12, 12), np.uint8))
    [changed] = cells(tmp_path, "mine")
    assert changed.key != cell.key
    [outcome] = train([cell], DataCache(tmp_path, CPU)).values()
    assert outcome.error is not None
    assert "its files on" in outcome.error
    (tmp_path / "pixels.npy").unlink()
    with pytest.raises(UserError, match=r"pixels\.npy: cannot be read: No such file"):
        cells(tmp_path, "mine")


@pytest.mark.parametrize(
    ("given", "error"), [("[1 / 0]", "ZeroDivisionError"), ("exit(1)", "SystemExit: 1")]
)
def test_a_plugins_files_that_fail_are_told_in_a_line(
    given: str, error: str, tmp_path: Path
) -> None:
    plugin(tmp_path / "code", f"files=lambda root: {given}")
    with pytest.raises(UserError, match=f"data set 'mine': its `files` fail: {error}"):
        cells(tmp_path, "mine")


def test_a_plugins_images_are_what_it_has_declared(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((6, 3, 12, 12), np.uint8))
    plugin(tmp_path / "code", "channels=3")
    [cell] = cells(tmp_path, "mine")
    told = r"has frame=12, background=\(7, 7, 7\), and is registered with frame=28, .*register_data"
    with pytest.raises(UserError, match=told):
        check_cell(cell, tmp_path)
    [outcome] = train([cell], DataCache(tmp_path, CPU)).values()
    assert outcome.error is not None
    assert "register_dataset('mine', frame=12, background=(7, 7, 7))" in outcome.error


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("frame=7", "frame: .* 8"),
        ("frame=257", "frame: .* 256"),
        ("channels=2", "channels: 1 or 3, not 2"),
        ("n_classes=1", "n_classes: .* 2"),
        ("background=256", "background.*255"),
        ("channels=3, background=(1, 2)", "background: one number for each channel"),
    ],
)
def test_a_declaration_out_of_range_is_refused(declared: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"dataset 'mine': .*{message}"):
        plugin(tmp_path / "code", declared)


@pytest.mark.parametrize(
    ("frame", "fields", "message"),
    [
        (16, {"models": ["CNN"]}, "CNN takes images from 21x21 pixels; R on images of 16x16"),
        (16, {"models": ["ST-CNN"]}, "ST-CNN takes images from 28x28 pixels; R on .* 16x16"),
        (
            24,
            {"models": ["ST-CNN"], "distortions": ["RTS"], "recipe": {"transformer_size": 21}},
            "transformer_size: 21 28ths of 24 pixels are 18; ST-CNN takes 21 to 384",
        ),
        (32, {"distortions": ["R:385"]}, "the canvas is 8 to 384 pixels"),
        (32, {"distortions": ["R:7"]}, "the canvas is 8 to 384 pixels"),
    ],
)
def test_a_model_that_does_not_fit_a_frame_is_refused(
    frame: int, fields: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_archive(tmp_path, "signs", 2, frame)
    with pytest.raises(UserError, match=message):
        cells(tmp_path, **fields)


def test_a_model_trains_on_the_canvases_that_it_fits(tmp_path: Path) -> None:
    write_archive(tmp_path, "signs", 2, 20)
    recipe = {"name": "smoke", "iterations": 2, "transformer_size": None}
    models = ["FCN", "CNN", "ST-FCN", "ST-CNN"]
    found = cells(tmp_path, models=models, distortions=["RTS"], recipe=recipe)
    assert {cell.canvas for cell in found} == {30}
    assert len(found) == 8
    outcomes = train(found, DataCache(tmp_path, CPU))
    assert [outcome.error for outcome in outcomes.values()] == [None] * 8


def test_many_classes(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    labels = np.arange(1000)
    pixels = draws.integers(0, 256, (1000, 3, 8, 8), np.uint8)
    np.savez(
        tmp_path / "many.npz",
        train_images=pixels,
        train_labels=labels,
        test_images=pixels[::10],
        test_labels=labels[::10],
    )
    [cell] = cells(tmp_path, "many")
    [outcome] = train([cell], DataCache(tmp_path, CPU)).values()
    assert outcome.error is None
    assert outcome.confusion is None
    assert outcome.predictions is not None
    assert outcome.predictions.n_classes == 1000
    assert len(outcome.predictions.first) == 2 * 100
