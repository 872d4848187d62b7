"""What a plug-in brings: imported modules and files beside it, hashed and limited."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from support.plugin_sources import a_model, built, key_of, write

from stn_cluster.errors import UserError
from stn_cluster.registry import known_plugin, load_plugins, lookup
from stn_cluster.registry import plugin_files as module

HERE = "from pathlib import Path\nHERE = Path(__file__).parent\n"


def brought(folder: Path, plugin: str = "mine") -> set[str]:
    """Names of the files that a plug-in brings, which registers the model Mine."""
    load_plugins([plugin], [folder])
    revision = lookup("model", "Mine").revision
    found = known_plugin(str(revision))
    assert found is not None
    return set(found.brought.files)


def test_a_single_file_that_needs_nothing_beside_it_is_known_by_its_content(
    tmp_path: Path,
) -> None:
    source = a_model("Mine")
    for name in ("my_grid.yaml", "other.py", "weights.pt", "results/x/cells/a.parquet"):
        write(tmp_path, name)
    write(tmp_path, "mine.py", source)
    assert brought(tmp_path) == {"mine.py"}
    known = hashlib.sha256(f"mine.py\0{len(source)}\0{source}".encode()).hexdigest()[:12]
    assert lookup("model", "Mine").revision == known  # as it has always been


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ("import helper", "return helper.x"),
        ("from helper import x", "return x"),
        ("", "import helper\nreturn helper.x"),
        ("", "from importlib import import_module\nreturn import_module('helper').x"),
        ("import middle", "return middle.helper.x"),
        ("name = 'hel' + 'per'\nhelper = __import__(name)", "return helper.x"),
        ("import sys\nsys.path.append(__file__[:-7] + 'lib')\nimport below", "return below.x"),
        ("import space.inner", "return space.inner.x"),
        ("from space import inner", "return inner.x"),
        ("import pack.inner", "return pack.inner.x"),
    ],
)
def test_what_it_imports_from_its_folder_is_part_of_it(
    tmp_path: Path, before: str, body: str
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", before, body))
    write(tmp_path, "middle.py", "import helper")
    write(tmp_path, "pack/__init__.py", "")
    places = ["helper.py", "lib/below.py", "space/inner.py", "pack/inner.py"]
    for name in places:
        write(tmp_path, name, "x = 1")
    first = key_of(tmp_path)
    assert built() == 1
    for name in places:
        write(tmp_path, name, "x = 22")
    assert key_of(tmp_path) != first
    assert built() == 22


@pytest.mark.parametrize(
    ("before", "file"),
    [
        (f"{HERE}W = HERE / 'w.npz'", "w.npz"),
        (f"{HERE}W = HERE / 'data'", "data/deep/w.csv"),
        (f"{HERE}W = Path(__file__).with_suffix('.json')", "mine.json"),
        (f"{HERE}def read(n): return HERE / f'w{{n}}.pt'", "w3.pt"),
        (f"{HERE}W = sorted(HERE.glob('*.pt'))", "w3.pt"),
        (f"{HERE}W = (HERE / ('w' + '.txt')).read_text()", "w.txt"),
        ("import os\nW = open(os.path.dirname(__file__) + '/w' + '.txt').read()", "w.txt"),
        ("W = 'w.npz'", "linked.npz"),
    ],
)
def test_files_beside_it_that_it_names_or_reads_are_part_of_it(
    tmp_path: Path, before: str, file: str
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", before))
    path = write(tmp_path, file, "one")
    if file == "linked.npz":
        (tmp_path / "w.npz").symlink_to(path)
    first = key_of(tmp_path)
    assert key_of(tmp_path) == first
    path.write_text("two")
    assert key_of(tmp_path) != first


def test_beside_a_link_to_a_source_its_own_folders_files_are_found(tmp_path: Path) -> None:
    path = write(tmp_path, "real/mine.py", a_model("Mine", f"{HERE}W = 'w.npz'"))
    weights = write(tmp_path, "real/w.npz", "one")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").symlink_to(path)
    assert brought(tmp_path / "configs") == {"mine.py", "w.npz"}
    first = key_of(tmp_path / "configs")
    weights.write_text("two")
    assert key_of(tmp_path / "configs") != first


def test_a_packages_files_are_part_of_it_without_those_that_never_travel(tmp_path: Path) -> None:
    write(tmp_path, "mine/__init__.py", "from . import nets")
    write(tmp_path, "mine/nets.py", a_model("Mine", "import helper"))
    write(tmp_path, "helper.py")
    write(tmp_path, "mine/data/w.npz")
    write(tmp_path, "mine/.gitignore", "*.npz")
    for name in (".git/objects/a", "__pycache__/nets.pyc", "venv/pyvenv.cfg", "venv/x.py", "a.py~"):
        write(tmp_path, f"mine/{name}")
    for name in ("store/cells/a.parquet", "store/tmp/a"):
        write(tmp_path, f"mine/{name}")
    (tmp_path / "mine" / "loop").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "mine" / "pipe")
    assert brought(tmp_path) == {"mine/__init__.py", "mine/nets.py", "mine/data/w.npz", "helper.py"}


def test_too_large_a_package_is_refused_and_a_too_large_folder_that_is_named_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 5)
    write(tmp_path, "pack/__init__.py", a_model("Mine"))
    write(tmp_path, "mine.py", a_model("Mine", f"{HERE}DATA = HERE / 'data'"))
    for number in range(6):
        write(tmp_path, f"pack/{number}.csv")
        write(tmp_path, f"data/{number}.csv")
    with pytest.raises(UserError, match=r"pack: what it brings is more than 100 MB or 5 files"):
        load_plugins(["pack"], [tmp_path])
    assert brought(tmp_path) == {"mine.py"}
    [line] = caplog.messages
    assert line == (
        "plug-in 'mine': data, which its source names, is too large to travel with it: workers do "
        "not have it"
    )


def test_a_plugin_in_a_folder_of_everything_does_not_bring_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MEGABYTES", 0.001)
    write(tmp_path, "mine.py", a_model("Mine"))
    write(tmp_path, "film.mp4", "x" * 5000)
    assert brought(tmp_path) == {"mine.py"}
    write(tmp_path, "mine.py", a_model("Mine", "import big"))
    write(tmp_path, "big/__init__.py")
    write(tmp_path, "big/weights.bin", "x" * 5000)
    with pytest.raises(UserError, match=r"mine.py: .* \(the largest: big/weights.bin, 0 MB\)"):
        load_plugins(["mine"], [tmp_path])


@pytest.mark.parametrize("name", ["types", "random", "numpy", "yaml", "stn_cluster"])
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
def test_a_name_of_pythons_or_of_an_installed_package_is_refused(
    tmp_path: Path, name: str, form: str
) -> None:
    write(tmp_path, form.format(name), a_model("Mine"))
    with pytest.raises(UserError, match=f"'{name}' .*has the name of .*; rename it"):
        load_plugins([name], [tmp_path])


@pytest.mark.parametrize("name", ["types", "numpy"])
def test_such_a_name_is_refused_in_what_a_plugin_imports(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}.py", "x = 1")
    write(tmp_path, "mine.py", a_model("Mine", f"import {name}"))
    with pytest.raises(UserError, match=rf"'mine': .*/{name}.py: has the name of .*; rename it"):
        load_plugins(["mine"], [tmp_path])
    write(tmp_path, "mine.py", a_model("Mine"))  # who does not import it is not concerned
    assert brought(tmp_path) == {"mine.py"}


def test_an_installed_plugin_is_known_by_its_version_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions = []
    for version in ("1.0", "1.1"):
        site = tmp_path / version / "site-packages"
        write(site, "mine/__init__.py", a_model("Mine", "import mine_tools"))
        write(site, "mine_tools.py")
        write(site, "other.py")
        about = f"Metadata-Version: 2.1\nName: my-plugin\nVersion: {version}\n"
        write(site, f"my_plugin-{version}.dist-info/METADATA", about)
        write(site, f"my_plugin-{version}.dist-info/top_level.txt", "mine\nmine_tools\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(site))
            module._distribution.cache_clear()
            assert brought(tmp_path) == {"mine/__init__.py", "mine_tools.py"}
            revisions.append(lookup("model", "Mine").revision)
    assert revisions[0] != revisions[1]
    module._distribution.cache_clear()
