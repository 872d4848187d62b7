"""Wrong configs: each is one line that names the file, the field and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve


def read(path: Path, *overrides: str) -> list[Cell]:
    return resolve(load_config(path, overrides), source=str(path), folder=path.parent)


def error_of(path: Path, *overrides: str) -> str:
    """Error message for the user, always one line."""
    with pytest.raises(UserError) as caught:
        read(path, *overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: digits\nmodels: [CNN]\n")
    return path


def one(cell: str) -> str:
    return f"cells: [{cell}]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # names
        ("datset: digits", ["datset", "did you mean 'dataset'?", "recipe, seeds, transforms"]),
        ("models: [CN]", ["unknown model 'CN'", "did you mean 'CNN'?", "FCN, ST-CNN"]),
        ("models: [cnn]", ["did you mean 'CNN'?"]),
        (
            "transforms: [afine]",
            ["unknown transform", "did you mean 'affine'?", "none, projective"],
        ),
        ("distortions: [RST]", ["unknown distortion", "did you mean 'RTS'?", "E, P, R"]),
        ("distortions: ['P:xz']", ["'P:xz'", "unknown variant", "did you mean 'xy'?", "diagonal"]),
        ("distortions: ['R:xy']", ["'R:xy'", "unknown variant", "allowed: plain"]),
        ("distortions: ['P:xy-500']", ["'P:xy-500'", "8 to 384"]),
        ("distortions: ['R:7']", ["'R:7'", "8 to 384"]),
        ("distortions: ['R:20']", ["CNN takes images from 21x21 pixels", "R:20", "20x20", "R:21"]),
        ("distortions: ['P:xy:3']", ["'P:xy:3'", "NAME:VARIANT"]),
        ("distortions: ['']", ["''", "NAME:VARIANT"]),
        ("distortions: ['P:']", ["'P:'", "NAME:VARIANT"]),
        ("distortions: ['P:xy-']", ["'P:xy-'", "NAME:VARIANT"]),
        ("distortions: ['P:-42']", ["'P:-42'", "NAME:VARIANT"]),
        ("distortions: ['P:xy42']", ["'P:xy42'", "NAME:VARIANT"]),
        ("dataset: mnits", ["unknown dataset", "did you mean 'mnist'?", "digits", "mnits.npz"]),
        ("recipe: fats", ["unknown recipe", "did you mean 'fast'?", "paper, smoke"]),
        (one("{model: FCM, distortion: R}"), ["cells.0", "unknown model", "did you mean 'FCN'?"]),
        (one("{modl: CNN, distortion: R}"), ["cells.0", "did you mean 'model'?"]),
        (one("{model: CNN, distortion: R, dataset: mnits}"), ["cells.0", "unknown dataset"]),
        (one("{model: CNN, distortion: R, recipe: fats}"), ["cells.0", "unknown recipe"]),
        # models and transforms that do not go together
        ("models: [FCN]\ntransforms: [affine]", ["transforms", "FCN takes no transform", "none"]),
        ("models: [CNN]\ntransforms: [none, tps]", ["tps"]),
        ("models: [ST-CNN]\ntransforms: [none]", ["transforms", "ST-CNN needs a transform"]),
        ("models: [FCN, ST-CNN]\ntransforms: [tps]", ["transforms", "FCN takes no transform"]),
        ("transforms: [none]", ["transforms", "ST-FCN needs a transform"]),
        (one("{model: FCN, transform: tps, distortion: R}"), ["cells.0", "FCN takes no transform"]),
        (one("{model: ST-CNN, distortion: R}"), ["cells.0", "ST-CNN needs a transform", "affine"]),
        # axes and lists
        ("models: []", ["models", "empty axis"]),
        ("transforms: []", ["transforms", "empty axis"]),
        ("distortions: []", ["distortions", "empty axis"]),
        ("seeds: []", ["seeds", "empty axis"]),
        ("seeds:", ["seeds", "empty"]),
        ("models: CNN", ["models", "CNN"]),
        ("seeds: 3", ["seeds", "3"]),
        ("seeds: [0, 1, 0]", ["seeds", "twice", "0"]),
        ("models: [CNN, FCN, CNN]", ["models", "twice", "CNN"]),
        ("distortions: [P, 'P:xy-enlarged-42']", ["FCN/none/P/seed0", "twice"]),
        (one("{model: CNN, distortion: R}, {model: CNN, distortion: R}"), ["CNN/none/R", "twice"]),
        (one("{model: CNN, distortion: R}") + "\nmodels: [CNN]", ["CNN/none/R/seed0", "twice"]),
        ("seeds: [true]", ["seeds.0", "integer", "True"]),
        ("seeds: ['1']", ["seeds.0", "integer", "'1'"]),
        ("seeds: [0, 1.0]", ["seeds.1", "integer", "1.0"]),
        ("seeds: [-1]", ["seeds.0", "greater than or equal to 0"]),
        ("seeds: [2147483648]", ["seeds.0", "less than 2147483648"]),
        (one("{model: CNN, distortion: R, seed: '1'}"), ["cells.0.seed", "integer"]),
        (one("{model: CNN}"), ["cells.0.distortion", "required"]),
        (one("CNN"), ["cells.0", "'CNN'"]),
        ("cells: {model: CNN}", ["cells"]),
        ("cells:", ["cells", "empty"]),
        ("cells: []", ["cells", "empty"]),
        # recipes
        ("recipe: {learning_rate: -1}", ["recipe.learning_rate", "greater than 0", "-1"]),
        ("recipe: {learning_rate: 0}", ["recipe.learning_rate", "greater than 0"]),
        ("recipe: {learning_rate: .nan}", ["recipe.learning_rate", "finite"]),
        ("recipe: {learning_rate: .inf}", ["recipe.learning_rate", "finite"]),
        ("recipe: {learning_rate: fast}", ["recipe.learning_rate", "number", "'fast'"]),
        ("recipe: {iterations: 0}", ["recipe.iterations", "greater than or equal to 1"]),
        ("recipe: {iterations: 2.5}", ["recipe.iterations", "integer", "2.5"]),
        ("recipe: {iterations: true}", ["recipe.iterations", "integer"]),
        ("recipe: {iterations: yes}", ["recipe.iterations", "integer", "'yes'"]),
        ("recipe: {iterations: 1_000}", ["recipe.iterations", "integer", "'1_000'"]),
        ("recipe: {iterations: 2024-01-01}", ["recipe", "iterations"]),
        ("recipe: {batch_size: 0}", ["recipe.batch_size", "greater than or equal to 1"]),
        ("recipe: {warmup: 1}", ["recipe.warmup", "less than 1"]),
        ("recipe: {schedule: stepp}", ["recipe.schedule", "'one-cycle'", "'stepp'"]),
        ("recipe: {schedule: step}", ["recipe", "step_every"]),
        ("recipe: {iteration: 5}", ["recipe.iteration", "did you mean 'iterations'?"]),
        ("recipe: {nam: fast}", ["recipe.nam", "unknown field 'nam'"]),
        ("recipe: {name: fast, overrides: {}, foo: 1}", ["recipe.foo", "allowed: name, overrides"]),
        ("recipe: {name: 5}", ["recipe.name", "string", "5"]),
        ("recipe: 5", ["recipe", "5"]),
        ("recipe:", ["recipe"]),
        ("recipe: [fast]", ["recipe"]),
        (one("{model: CNN, distortion: R, recipe: {iterations: 0}}"), ["cells.0", "iterations"]),
        (
            "recipe: {by_model: {CNN: {iterations: 0}}}",
            ["recipe", "by_model.CNN.iterations", "or equal to 1"],
        ),
        (
            "recipe: {by_model: {CNN: {filter: 8}}}",
            ["recipe", "by_model.CNN.filter", "mean 'filters'?"],
        ),
        ("recipe: {by_model: {CNN: {batch_size: 0}}}", ["recipe", "by_model.CNN.batch_size"]),
        ("recipe: {by_model: {CNN: {by_model: {}}}}", ["recipe", "by_model.CNN", "by_model"]),
        ("recipe: {filters: 0}", ["recipe.filters: 1 to 1024", "[32, 64]", "given: 0"]),
        ("recipe: {filters: true}", ["recipe.filters: 1 to 1024", "given: True"]),
        ("recipe: {filters: [32, 1025]}", ["recipe.filters: 1 to 1024", "given: [32, 1025]"]),
        ("recipe: {filters: [1, 2, 3]}", ["recipe.filters: 1 to 1024, or two"]),
        ("recipe: {by_model: {CNN: {filters: []}}}", ["by_model.CNN.filters: 1 to 1024, or two"]),
        ("recipe: {by_model: {CN: {filters: 8}}}", ["recipe.by_model", "did you mean 'CNN'?"]),
        ("recipe: {by_model: {CNN: 8}}", ["recipe.by_model.CNN", "8"]),
        # what workers need
        ("needs: {num_gpu: 1}", ["needs", "did you mean 'num_gpus'?", "accelerator_type"]),
        ("needs: {num_gpus: -1}", ["needs.num_gpus", "greater than or equal to 0", "-1"]),
        ("needs: {num_gpus: 1.5}", ["needs", "num_gpus", "whole number"]),
        ("needs: {num_cpus: many}", ["needs.num_cpus", "number", "'many'"]),
        ("needs: {num_cpus: 0.0001}", ["needs", "num_cpus must be 0 or at least 0.05"]),
        ("needs: {num_gpus: 0.01}", ["needs", "num_gpus must be 0 or at least 0.05"]),
        ("needs: {num_cpus: .inf}", ["needs.num_cpus", "finite"]),
        ("needs: {accelerator_type: 100}", ["needs.accelerator_type", "string", "100"]),
        ("needs: {resources: {big: 0}}", ["needs.resources.big", "greater than 0"]),
        ("needs: {resources: {CPU: 1}}", ["needs.resources", "num_cpus"]),
        ("needs: {resources: [big]}", ["needs.resources", "dictionary"]),
        ("needs: 1", ["needs", "1"]),
        ("needs:", ["needs", "empty"]),
        # the rest
        ("name: a/b", ["name", "'a/b'"]),
        ("name: 2024", ["name", "string"]),
        ("name: 010", ["name", "string", "10"]),
        ("1: 2", ["1"]),
        ('"mod\\nels": [CNN]', ["unknown field", "did you mean 'models'?"]),
    ],
)
def test_a_wrong_field_is_named_with_its_file(config: Path, text: str, told: list[str]) -> None:
    config.write_text(text)
    message = error_of(config)
    assert message.startswith(f"{config}: ")
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"# nothing but a comment\n", "empty"),
        (b"---\n", "empty"),
        (b"- models\n- CNN\n", "a mapping of fields, not a list"),
        (b"digits", "a mapping of fields, not a str"),
        (b"models: [CNN", "line 1: not valid YAML"),
        (b"dataset: digits\nmodels: {", "line 2: not valid YAML"),
        (b"models:\n\t- CNN", "line 2: not valid YAML"),
        (b"dataset: digits\ndataset: mnist\n", "line 2: not valid YAML: key 'dataset' is given"),
        (b"recipe:\n  name: fast\n  name: paper\n", "line 3: not valid YAML: key 'name' is given"),
        (b"name: a\n---\nname: b\n", "not valid YAML"),
        (b"? [a]\n: b\n", "not valid YAML"),
        (b"name: !!timestamp 2024-13-45\n", "not valid YAML"),
        (b"name: !!bool maybe\n", "not valid YAML"),
        (b"seeds: [" + b"9" * 5000 + b"]\n", "not valid YAML"),
        (b"models: " + b"[" * 5000, "not valid YAML"),
        (b"\x00\x01\x02\n\x03", "not valid YAML"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "cannot be read as text"),
    ],
)
def test_a_file_that_is_no_config_is_named(config: Path, content: bytes, told: str) -> None:
    config.write_bytes(content)
    message = error_of(config)
    assert message.startswith(str(config))
    assert told in message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "nothing.yaml"
    assert error_of(missing) == f"{missing}: no such config file"
    assert error_of(tmp_path).startswith(f"{tmp_path}: cannot be read as text")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seeds", ["--set seeds", "FIELD=VALUE"]),
        ("=3", ["--set =3", "FIELD=VALUE"]),
        ("", ["--set", "FIELD=VALUE"]),
        ("sedes=[1]", ["--set sedes", "did you mean 'seeds'?", "models"]),
        ("cells.0.seed=1", ["--set cells.0.seed", "only recipe"]),
        ("recipe.=1", ["--set recipe.", "only recipe"]),
        ("recipe.iteration=1", ["recipe.iteration", "did you mean 'iterations'?"]),
        ("recipe.by_model.CNN.filter=1", ["recipe", "by_model.CNN.filter", "mean 'filters'?"]),
        ("recipe.iterations.x=1", ["recipe.iterations"]),
        ("recipe.iterations=0", ["recipe.iterations", "greater than or equal to 1"]),
        ("recipe.iterations=", ["recipe.iterations", "integer"]),
        ("seeds=[0", ["--set seeds", "'[0'", "not a YAML value"]),
        ("name=!!timestamp 2024-13-45", ["--set name", "not a YAML value"]),
        ("recipe.iterations=1:30", ["recipe.iterations", "integer", "'1:30'"]),
        ("recipe.iterations=1e3", ["recipe.iterations", "integer", "1000.0"]),
        ("seeds=[1, 1]", ["seeds", "twice"]),
        ("models=[CN]", ["unknown model 'CN'", "did you mean 'CNN'?"]),
    ],
)
def test_a_wrong_set_is_named(config: Path, override: str, told: list[str]) -> None:
    message = error_of(config, override)
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "ModuleNotFoundError"),
        ("raise RuntimeError('not today\\nnor tomorrow')", "RuntimeError: not today nor tomorrow"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_plugin_that_does_not_import_is_named(
    config: Path, source: str | None, told: str
) -> None:
    config.write_text("plugins: [a_broken_plugin]")
    if source is not None:
        (config.parent / "a_broken_plugin.py").write_text(source)
    message = error_of(config)
    assert message.startswith(f"{config}: plugins: 'a_broken_plugin' does not import: ")
    assert told in message


@pytest.mark.parametrize("name", ["my-plugin", ".mine", "mine.", "a b", "../mine", ""])
def test_a_plugin_is_a_modules_name(config: Path, name: str) -> None:
    config.write_text(f"plugins: ['{name}']")
    assert error_of(config).startswith(f"{config}: plugins.0: ")


def test_an_error_in_plain_data_names_the_source_that_it_is_given() -> None:
    with pytest.raises(UserError, match=r"^job 7: seeds: "):
        parse_config({"seeds": []}, source="job 7")
    with pytest.raises(UserError, match=r"^job 7: unknown model"):
        resolve(parse_config({"models": ["X"]}), source="job 7")


def test_the_nearest_name_is_proposed_and_none_where_nothing_is_near() -> None:
    assert unknown("model", "CNM", ["FCN", "CNN"]).startswith(
        "unknown model 'CNM': did you mean 'CNN'? "
    )
    assert unknown("model", "zzzzz", ["b", "a"]) == "unknown model 'zzzzz': allowed: a, b"
