"""Commands and code of README.md and docs/store.md, word by word, on a store as they speak of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from support.commands import stn_cluster
from support.ray_head import BIN

from stn_cluster import load_results

PROJECT = Path(__file__).parents[2]
TOP = ("docs", "docker", "jobs", "results")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)")


def blocks(document: str, heading: str, language: str) -> list[str]:
    """Code blocks of a section."""
    text = (PROJECT / document).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [body for kind, body in BLOCK.findall(section) if kind == language]


def _documents() -> list[str]:
    """All documents of the project, but those of environments and of what was installed."""
    found = [*PROJECT.glob("*.md"), *(p for d in TOP for p in (PROJECT / d).rglob("*.md"))]
    return sorted(path.relative_to(PROJECT).as_posix() for path in found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, after a short run of the quickstart."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "configs").symlink_to(PROJECT / "configs")
    short = ("--set", "recipe.iterations=4", "--set", "recipe.batch_size=16")
    done = stn_cluster("run", "configs/quickstart.yaml", *short, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_bash(lines: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-ec", lines],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        timeout=240,
    )


def run_python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_tours_commands(folder: Path) -> None:
    [lines] = [
        body for body in blocks("README.md", "A first tour", "") if "results --store" in body
    ]
    done = run_bash(lines, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ST-CNN") >= 3
    assert "| ST-CNN | tps |" in done.stdout


def test_what_can_be_trusted(folder: Path) -> None:
    """The run was shorter than the config, so that all of its cells are still to be trained."""
    [lines] = blocks("README.md", "What can be trusted", "")
    done = run_bash(lines, folder)
    assert done.returncode == 0, done.stderr
    for part in (
        "cells      32: ",
        "Holm's correction over 112",
        "Check: no pair is worse",
        "to the bit: 2 of 2",
    ):
        assert part in done.stdout
    published = ["table", "--store", PROJECT / "results" / "mnist-v1", "--interval"]
    assert "95% interval" in stn_cluster(*published, folder=folder).stdout


def test_the_readmes_python(folder: Path) -> None:
    reading, running = blocks("README.md", "In Python", "python")
    out = run_python(reading, folder)
    assert "ST-CNN/tps/RTS/seed0" in out
    running = running.replace('"mnist"', '"digits"').replace("1000", "2")
    running = running.replace(' data_root="SOMEWHERE",', "")
    out = run_python(f"{running}\nprint(list(results['label']))", folder)
    assert out.strip() == "['CNN/none/R/seed0']"


def test_the_stores_python_and_sql(folder: Path) -> None:
    store = str(folder / "results" / "quickstart")
    [code] = blocks("docs/store.md", "Reading", "python")
    counted = "\nprint(len(results), len(cells) >= len(results), images['image'].nunique())"
    assert run_python(code.replace("STORE", store) + counted, folder).split() == [
        "4",
        "True",
        "3600",
    ]
    [query] = blocks("docs/store.md", "Reading", "sql")
    rows = duckdb.sql(query.replace("STORE", store)).df()
    assert len(rows) == 32
    assert set(rows["images"] % 3600) == {0}  # an attempt each, or several


def test_a_folder_of_pictures_is_learned(folder: Path) -> None:
    [drawing] = blocks("docs/models.md", "A folder of pictures", "python")
    for content in [drawing, *blocks("docs/models.md", "A folder of pictures", "yaml")]:
        path = folder / content.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    [lines] = blocks("docs/models.md", "A folder of pictures", "")
    done = run_bash(lines, folder)
    assert done.returncode == 0, done.stderr
    results = load_results(folder / "results" / "signs")
    assert set(results["label"]) == {
        f"{model}/{distortion}/seed0"
        for model in ("torchvision:resnet18/none", "ST-CNN/affine")
        for distortion in ("clean", "R")
    }
    assert set(results["n_test"]) == {300}
    assert results["test_error"].max() < 33  # by chance: 67


def test_the_models_own_network_is_evaluated(folder: Path) -> None:
    plugin, elsewhere = blocks("docs/models.md", "Your own network", "python")
    (folder / "mine.py").write_text(plugin)
    (folder / "evaluate.yaml").write_text(blocks("docs/models.md", "Your own network", "yaml")[0])
    run_python(elsewhere, folder)
    [command] = blocks("docs/models.md", "Your own network", "")
    done = stn_cluster(*command.split()[1:], folder=folder)
    assert done.returncode == 0, done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith("elsewhere")]
    assert row[1] == "none"
    rotated, elastic, clean = map(float, row[2:5])
    assert clean < 15 < elastic < rotated < 90
    assert "digits, recipe none" in done.stdout


def test_the_models_python_and_export(folder: Path) -> None:
    using, drawing = blocks("docs/models.md", "Using what was trained", "python")
    out = run_python(f"{using}\n{drawing}\nprint(seen.grid.shape)", folder)
    assert re.search(r"^a \d, \d+% sure\ntorch.Size\(\[1, 28, 28, 2\]\)$", out.strip())
    assert (folder / "seen.png").stat().st_size > 1000
    [command] = blocks("docs/models.md", "Using what was trained", "")
    done = stn_cluster(*command.split()[1:], folder=folder)
    assert done.returncode == 0, done.stderr
    weights, described = (folder / line for line in done.stdout.splitlines())
    assert weights.suffix == ".safetensors"
    assert "ST-CNN/tps/RTS/seed0" in described.read_text()


@pytest.mark.parametrize("document", _documents())
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = PROJECT / document
    broken = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert broken == []
