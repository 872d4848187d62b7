"""The distorted test set: the same whether it is kept or made again, and never too much of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.packs import make_cells
from support.photographs import write_archive

from stn_cluster.config_file import parse_config
from stn_cluster.data import cache, distorted_images
from stn_cluster.data.cache import DataCache
from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.distorted_images import DistortedImages, in_batches
from stn_cluster.registry import resolve

CPU = torch.device("cpu")


def images_of(distortion: str) -> DistortedImages:
    [cell] = make_cells(models=["FCN"], distortions=[distortion])
    return DistortedImages(cell, load_dataset("digits"), CPU)


@pytest.mark.parametrize("distortion", ["R", "RTS", "P", "E", "clean"])
def test_each_pass_gives_the_same_images_in_batches(distortion: str) -> None:
    images = images_of(distortion)
    once = torch.cat(list(images.batches(100)))
    assert once.shape == images.shape == (3600, 1, *once.shape[2:])
    assert images.kept_bytes == 0
    images.keep()
    assert images.kept_bytes == images.nbytes == once.numel() * 4
    kept = list(images.batches(100))
    assert [len(batch) for batch in kept] == [100] * 36
    assert torch.equal(torch.cat(kept), once)
    assert torch.equal(torch.cat(list(in_batches(once, 100))), once)


def test_large_images_are_distorted_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = images_of("E").whole()
    monkeypatch.setattr(distorted_images, "BATCH_BYTES", 7 * 4 * 28 * 28)
    images = images_of("E")
    assert {len(batch) for batch in images.batches(1000)} == {7, 3600 % 7}
    torch.testing.assert_close(images.whole(), whole, atol=1e-5, rtol=0)


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = make_cells(models=["FCN"], distortions=["R", "E", "clean", "P"])
    of_one = 3600 * 4 * 28 * 28
    monkeypatch.setattr(cache, "KEPT_BYTES", 2 * of_one)
    data = DataCache(None, CPU)
    tests = [data.test(cell).images for cell in cells]
    kept = [images.kept_bytes for images in tests if isinstance(images, DistortedImages)]
    assert kept == [0, of_one, of_one, 0]  # P is larger than what there is room for
    data.test(cells[1])  # used now, so the other one leaves first
    [small] = make_cells(models=["FCN"], distortions=["E:20"])
    data.test(small)
    left = [i.kept_bytes for i in tests if isinstance(i, DistortedImages)]
    assert left == [0, of_one, 0, 0]
    assert data.test(cells[0]).images is tests[0]


def test_a_repeated_test_set_shows_base_image_i_modulo_their_number(tmp_path: Path) -> None:
    write_archive(tmp_path, "places", n_classes=3, frame=16)
    [cell] = resolve(
        parse_config({"dataset": "places", "models": ["FCN"], "distortions": ["clean"]}), tmp_path
    )
    test = DataCache(tmp_path, CPU).test(cell)
    data = load_dataset("places", tmp_path)
    assert isinstance(test.images, DistortedImages)
    assert torch.equal(test.images.whole(), data.test_images / 255)
    assert torch.equal(test.labels, data.test_labels)
