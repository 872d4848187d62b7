"""Data sets that cannot be used: one line and exit code 2, before Ray starts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from support.mnist import small_mnist, write
from support.photographs import write_archive, write_folders
from typer.testing import CliRunner

from stn_cluster.cli import main
from stn_cluster.cli.options import DATA_VARIABLE, DataRootOption


def two_of_a_name(root: Path) -> None:
    write_archive(root, "signs", 2, 32)
    write(root / "signs", small_mnist()[0])


def torn_image(root: Path) -> None:
    write_folders(root, "signs", 2)
    (root / "signs" / "train" / "place00" / "x.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (two_of_a_name, "signs.npz and "),
        (torn_image, "train/place00/x.png: is no image"),
        (lambda root: write_archive(root, "signs", 2, 16), "CNN takes images from 21x21 pixels"),
        (lambda root: root.mkdir(), "unknown dataset 'signs'"),
    ],
    ids=["two of a name", "torn image", "too small", "absent"],
)
def test_one_line_says_what_is_wrong(
    prepare: Callable[[Path], None],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, config, store = tmp_path / "data", tmp_path / "signs.yaml", tmp_path / "store"
    prepare(root)
    config.write_text("dataset: signs\nrecipe: smoke\nmodels: [CNN]\n")
    options = ["run", config, "--store", store, "--data-root", root]
    monkeypatch.setattr(sys, "argv", ["stn-cluster", *map(str, options)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert told in line
    assert not store.exists()


def test_a_home_folder_is_known_where_the_shell_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(DATA_VARIABLE, "~/data")
    seen: list[Path | None] = []

    def command(data_root: DataRootOption = None) -> None:
        seen.append(data_root)

    app = typer.Typer()
    app.command()(command)
    for arguments in (["--data-root=~/other"], []):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen == [tmp_path / "other", tmp_path / "data"]
