"""What a newcomer asks the command: its help, the components, the schema, completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.commands import stn_cluster

PLUGIN = """
from stn_cluster import register_distortion, register_model

@register_model("Mine")
def build(task):
    '''A model of mine.

    More on it.
    '''

register_distortion("Bent", variants={"much": 30, "little": 40})(lambda variant, canvas: None)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plug-in, and a config that names it."""
    (tmp_path / "lines_of_mine.py").write_text(PLUGIN)
    (tmp_path / "mine.yaml").write_text("plugins: [lines_of_mine]\nmodels: [Mine]\n")
    return tmp_path


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_the_list_of_commands_has_whole_sentences(columns: int) -> None:
    done = stn_cluster("--help", COLUMNS=str(columns), TERMINAL_WIDTH=str(columns))
    assert done.returncode == 0
    assert "..." not in done.stdout.partition("Commands:")[2]
    text = " ".join(done.stdout.split())
    assert " logs Print the log of each attempt at a cell, oldest first: from a service, or" in text
    assert max(map(len, done.stdout.splitlines())) <= max(columns, 60)


def test_components_lists_all_that_a_config_can_name() -> None:
    done = stn_cluster("components")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "models:",
        "transforms:",
        "distortions:",
        "data sets (dataset):",
        "recipes (recipe):",
    ]
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line[0] == " "}
    assert listed["ST-CNN"].startswith("a transformer with")
    assert listed["R"].endswith("; 28 pixels")
    assert " resnet18," in listed["torchvision:NAME"]
    assert listed["P:xy-enlarged"] == "42 pixels, which plain P is"
    assert listed["RTS:frame"] == "42 pixels, which plain RTS is"
    assert {"none", "tps", "RTS:rotated-frame", "mnist-validation", "smoke"} <= listed.keys()


@pytest.mark.parametrize("arguments", [("mine.yaml",), ("--plugins", "lines_of_mine")])
def test_components_lists_those_of_plug_ins(folder: Path, arguments: tuple[str, ...]) -> None:
    done = stn_cluster("components", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "Mine A model of mine (lines_of_mine)" in lines
    assert "Bent:much 30 pixels, which plain Bent is" in lines
    assert "Bent:little 40 pixels" in lines


def test_a_plug_in_that_is_not_there_is_one_line() -> None:
    done = stn_cluster("components", "--plugins", "nowhere_at_all")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere_at_all" in done.stderr


def test_schema_prints_the_schema_with_a_configs_plug_ins(folder: Path) -> None:
    plain, own = stn_cluster("schema"), stn_cluster("schema", "mine.yaml", folder=folder)
    assert json.loads(plain.stdout)["$schema"].startswith("https://json-schema.org/")
    assert '"const": "Mine"' in own.stdout
    assert '"const": "Mine"' not in plain.stdout


def test_the_docs_tell_editors_of_the_schema() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "configs.md").read_text()
    [line] = [text for text in docs.splitlines() if text.startswith("# yaml-language-server:")]
    assert line == "# yaml-language-server: $schema=stn-cluster.schema.json"
    assert "stn-cluster schema > stn-cluster.schema.json" in docs
    assert yaml.safe_load(line) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("stn-cluster compo", "components"),
        ("stn-cluster compar", "compare"),
        ("stn-cluster pl", "plan"),
        ("stn-cluster run --wor", "--workers"),
        ("stn-cluster compare --fail", "--fail-if-worse"),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, expected: str) -> None:
    done = stn_cluster(
        _STN_CLUSTER_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [expected], "")


def test_the_script_of_a_shell_is_shown() -> None:
    # Which shell it is, typer would find out by the processes above, of which none may be one.
    done = stn_cluster(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete -o default -F _stn_cluster_completion stn-cluster" in done.stdout
