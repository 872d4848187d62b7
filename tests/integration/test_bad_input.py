"""Wrong input to `run`: one clear line and exit code 2, nothing trained, the store untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import stn_cluster
from support.refusals import Command, Told, assert_refused, everything

from stn_cluster.data.mnist_files import FILES, IdxFile
from stn_cluster.store import Store

pytestmark = pytest.mark.usefixtures("elsewhere")

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


@pytest.fixture(params=["a store that is not there yet", "a store with a file in it"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "store"
    if "with" in request.param:
        Store.open(path, create=True).write_report("mine.txt", "keep this")
    return path


YAML = {
    "missing": (None, ["no such config file"]),
    "empty": ("", ["is empty"]),
    "only a comment": ("# models: [CNN]\n", ["is empty"]),
    "malformed": ("models: [CNN", ["line 1", "not valid YAML"]),
    "not a mapping": ("- CNN", ["a mapping of fields, not a list"]),
    "a key twice": ("name: a\nname: b", ["line 2", "'name' is given twice"]),
    "unknown key": ("modles: [CNN]", ["modles", "did you mean 'models'?"]),
    "unknown model": ("models: [ST-CCN]", ["model 'ST-CCN'", "did you mean 'ST-CNN'?"]),
    "unknown transform": ("transforms: [afine]", ["transform", "did you mean 'affine'?"]),
    "unknown distortion": ("distortions: [RST]", ["distortion", "did you mean 'RTS'?"]),
    "unknown variant": ("distortions: ['P:yx']", ["'P:yx'", "did you mean 'xy'?"]),
    "unknown data set": ("dataset: mnits", ["dataset", "did you mean 'mnist'?"]),
    "unknown recipe": ("recipe: fats", ["recipe", "did you mean 'fast'?"]),
    "unknown recipe field": (
        "recipe: {iteration: 3}",
        ["recipe.iteration", "did you mean 'iterations'?"],
    ),
    "FCN with a transform": (
        "models: [FCN]\ntransforms: [tps]",
        ["transforms", "FCN takes no transform"],
    ),
    "ST-CNN without": (
        "models: [ST-CNN]\ntransforms: [none]",
        ["transforms", "ST-CNN needs a transform"],
    ),
    "a listed FCN with a transform": (
        "cells: [{model: FCN, transform: tps, distortion: R}]",
        ["cells.0", "FCN takes no transform"],
    ),
    "a listed ST-CNN without": (
        "cells: [{model: ST-CNN, distortion: R}]",
        ["cells.0", "ST-CNN needs a transform"],
    ),
    "empty axis": ("seeds: []", ["seeds", "an empty axis"]),
    "duplicate seeds": ("seeds: [0, 1, 0]", ["seeds", "twice"]),
    "duplicate cells": ("distortions: [R, 'R:28']", ["FCN/none/R/seed0", "twice"]),
    "negative learning rate": (
        "recipe: {learning_rate: -0.1}",
        ["recipe.learning_rate", "greater than 0", "-0.1"],
    ),
    "zero iterations": ("recipe: {iterations: 0}", ["recipe.iterations", "or equal to 1"]),
    "missing plug-in": ("plugins: [not_there]", ["plugins", "'not_there' does not import"]),
    "broken plug-in": ("plugins: [broken]", ["plugins", "'broken'", "ValueError: it breaks"]),
}


@pytest.mark.parametrize("case", YAML)
def test_a_wrong_config_is_named_with_what_is_wrong(
    case: str, command: Command, store: Path, tmp_path: Path
) -> None:
    text, told = YAML[case]
    (tmp_path / "broken.py").write_text("raise ValueError('it\\nbreaks')")
    config = tmp_path / "mine.yaml"
    if text is not None:
        config.write_text(text)
    before = everything(store)
    assert_refused(command("run", config, "--store", store), str(config), *told)
    assert everything(store) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "sedes=[1]"], ["--set sedes", "did you mean 'seeds'?"]),
        (["--set", "recipe.iteration=1"], ["recipe.iteration", "did you mean 'iterations'?"]),
        (["--set", "cells.0.seed=1"], ["--set cells.0.seed"]),
        (["--set", "seeds"], ["--set seeds", "FIELD=VALUE"]),
        (["--set", "seeds=[0"], ["--set seeds", "YAML"]),
        (["--set", "recipe.iterations=0"], ["recipe.iterations", "or equal to 1"]),
        (["--workers", "0"], ["workers", "at least 1", "0"]),
        (["--workers", "-2"], ["workers", "at least 1", "-2"]),
        (["--threads-per-worker", "0"], ["threads per worker", "at least 1", "0"]),
    ],
)
def test_a_wrong_option_is_named(
    options: list[str], told: list[str], command: Command, store: Path
) -> None:
    before = everything(store)
    assert_refused(command("run", SMOKE, "--store", store, *options), *told)
    assert everything(store) == before


@pytest.mark.parametrize(
    "option", ["--workers", "--state", "--data-root", "--threads-per-worker", "--checkpoint-steps"]
)
def test_options_of_this_machine_are_refused_where_a_service_trains(
    option: str, command: Command
) -> None:
    arguments = ["rerun", "--server", "http://127.0.0.1:1", option, "1"]
    assert_refused(command(*arguments), f"{option}: not with --server")


def test_a_store_with_an_empty_name_is_refused(command: Command) -> None:
    """As `--store "$STORE"` gives it where the variable is not set."""
    assert_refused(command("run", SMOKE, "--store", ""), "store", "empty")


# --- data ---


@pytest.mark.parametrize("dataset", ["mnist", "mnist-validation"])
@pytest.mark.parametrize("damaged", [FILES[0], FILES[3]], ids=lambda file: file.name)
@pytest.mark.parametrize("missing", [0, 1])
def test_a_file_in_mnists_place_that_is_not_mnists_is_named(
    dataset: str, damaged: IdxFile, missing: int, command: Command, store: Path, tmp_path: Path
) -> None:
    """Too short, or of zeros as long as MNIST's."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    with (raw / damaged.name).open("wb") as file:
        file.truncate(damaged.size - missing)
    before = everything(store)
    told = command(
        *("run", SMOKE, "--set", f"dataset={dataset}"),
        *("--store", store, "--data-root", tmp_path / "data"),
    )
    reason = f"{damaged.size:,}" if missing else "MNIST's"
    assert_refused(told, f"{raw / damaged.name}: ", reason)
    assert everything(store) == before
    assert len(list(raw.iterdir())) == 1


def test_mnist_that_is_absent_and_cannot_be_fetched_says_which_files_go_where(
    tmp_path: Path,
) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port: refused at once
    proxies = {f"{kind}_proxy": nowhere for kind in ("http", "https")}
    told = stn_cluster(
        *("run", SMOKE, "--set", "dataset=mnist"),
        *("--store", tmp_path / "store", "--data-root", tmp_path / "data"),
        **(proxies | {name.upper(): url for name, url in proxies.items()} | {"no_proxy": ""}),
    )
    *progress, refusal = told.stderr.splitlines(keepends=True)
    assert all(line.startswith("MNIST: ") for line in progress)
    assert "downloading 4 files" in progress[0]
    assert_refused(
        Told(told.returncode, told.stdout, refusal),
        *(file.name for file in FILES),
        str(tmp_path / "data" / "MNIST" / "raw"),
        "--data-root",
        "dataset: digits",
    )
    assert not (tmp_path / "store").exists()


# --- the whole command, in a process of its own ---


def test_the_command_exits_with_2_and_shows_a_traceback_only_where_asked(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("models: [ST-CCN]")
    told = stn_cluster("run", config, "--store", tmp_path / "store")
    assert_refused(Told(told.returncode, told.stdout, told.stderr), str(config), "'ST-CNN'")
    told = stn_cluster("--debug", "run", config, "--store", tmp_path / "store")
    assert told.returncode == 2
    assert "Traceback" in told.stderr
    assert not (tmp_path / "store").exists()
