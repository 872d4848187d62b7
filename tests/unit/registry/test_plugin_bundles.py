"""Bundles: the submitted files reach a worker, whatever has become of them since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.plugin_sources import a_model, built, cells_of, write
from support.plugin_state import plugins_forgotten

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import (
    ClashError,
    changed_files,
    check_revisions,
    known_plugin,
    load_plugins,
    load_submitted,
    lookup,
    pack,
    plugin_bundles,
)

HERE = "from pathlib import Path\nHERE = Path(__file__).parent\n"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files of a machine that has no plug-ins yet."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def submitted(folder: Path, *plugins: str, model: str = "Mine") -> tuple[Cell, dict[str, bytes]]:
    """The cell of a plug-in's model, and all that its plug-ins bring, by digest; this process has
    then forgotten them, as if it had been another one."""
    with plugins_forgotten():
        [cell] = cells_of(folder, *plugins, models=[model])
        found = {str(revision): known_plugin(str(revision)) for revision in cell.revisions.values()}
        return cell, {digest: pack(plugin)[0] for digest, plugin in found.items() if plugin}


def test_a_worker_runs_what_was_submitted_and_not_what_is_there_now(tmp_path: Path) -> None:
    body = "import late\nreturn late.x, (HERE / 'w.txt').read_text(), space.inner.y"
    write(tmp_path, "mine.py", a_model("Mine", f"{HERE}import space.inner", body))
    write(tmp_path, "late.py", "x = 1")
    write(tmp_path, "space/inner.py", "y = 2")
    write(tmp_path, "w.txt", "three")
    cell, bundles = submitted(tmp_path, "mine")
    for name in ("mine.py", "late.py", "w.txt", "space/inner.py"):
        write(tmp_path, name, "raise ValueError('edited')")
    load_submitted(cell, bundles.get)
    check_revisions(cell)
    assert built() == (1, "three", 2)
    before = lookup("model", "Mine")
    load_submitted(cell, lambda digest: pytest.fail("it is here"))  # type: ignore[arg-type]
    assert lookup("model", "Mine") is before


def test_two_peoples_plugins_of_one_name_take_turns(tmp_path: Path) -> None:
    cells, bundles = [], {}
    for person in ("ann", "bob"):
        write(tmp_path / person, "mine.py", a_model("Mine", "import utils", "return utils.x"))
        write(tmp_path / person, "utils.py", f"x = {person!r}")
        cell, brought = submitted(tmp_path / person, "mine")
        cells.append(cell)
        bundles |= brought
    assert cells[0].key != cells[1].key
    for cell, person in [*zip(cells, ("ann", "bob"), strict=True), (cells[0], "ann")]:
        load_submitted(cell, bundles.get)
        check_revisions(cell)
        assert built() == person
    loaded = load_submitted(cells[0], bundles.get)
    with pytest.raises(ClashError, match="'mine' and 'mine' both have a module 'mine'"):
        load_submitted(cells[1], bundles.get, keep=loaded)
    assert built() == "ann"


def test_plugins_that_have_nothing_in_common_stay_loaded_together(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", body="return 1"))
    write(tmp_path, "yours.py", a_model("Yours", body="return 2"))
    first, bundles = submitted(tmp_path, "mine", "yours")
    second, others = submitted(tmp_path, "mine", "yours", model="Yours")
    loaded = load_submitted(first, bundles.get)
    load_submitted(second, others.get, keep=loaded)
    assert (built(), built("Yours")) == (1, 2)


def test_without_a_bundle_a_plugin_is_what_is_installed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "mine.py", a_model("Mine"))
    cell, _ = submitted(tmp_path, "mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_submitted(cell, lambda digest: None)
    check_revisions(cell)
    write(tmp_path, "mine.py", a_model("Mine", "x = 1"))
    load_submitted(cell.model_copy(update={"plugins": ("mine",)}), lambda digest: None)


def test_what_a_worker_finds_by_chance_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "return __import__('_'.join(['by', 'chance'])).x"
    write(tmp_path, "mine.py", a_model("Mine", body=body))
    write(tmp_path, "by_chance.py", "x = 1")
    cell, bundles = submitted(tmp_path, "mine")
    monkeypatch.syspath_prepend(str(tmp_path))  # as a shared home folder may be
    load_submitted(cell, bundles.get)
    with pytest.raises(ImportError, match=r"by_chance \(.*\) has not come with a plug-in"):
        built()


def test_a_damaged_bundle_is_refused_and_a_damaged_copy_made_anew(
    tmp_path: Path, machine: Path
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", body="return 1"))
    cell, bundles = submitted(tmp_path, "mine")
    [digest] = bundles
    write(tmp_path, "mine.py", a_model("Mine", body="return 2"))
    _, others = submitted(tmp_path, "mine")
    [other] = others.values()
    with pytest.raises(UserError, match=f"plug-in {digest} in the store is damaged: its files are"):
        load_submitted(cell, {digest: other}.get)
    with pytest.raises(UserError, match="a plug-in in the store is damaged: File is not a zip"):
        load_submitted(cell, {digest: b"torn"}.get)
    load_submitted(cell, bundles.get)
    [copy] = machine.rglob("mine.py")
    copy.write_text("raise ValueError('touched')")
    load_plugins(["mine"], [tmp_path])  # another one takes its place
    load_submitted(cell, bundles.get)
    assert built() == 1


def test_a_copy_that_nobody_has_used_for_a_week_is_removed(tmp_path: Path, machine: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", body="return 1"))
    cell, bundles = submitted(tmp_path, "mine")
    load_submitted(cell, bundles.get)
    [copy] = machine.rglob("mine.py")
    os.utime(copy.parents[1], (0, 0))
    write(tmp_path, "mine.py", a_model("Mine", body="return 2"))
    cell, bundles = submitted(tmp_path, "mine")
    load_submitted(cell, bundles.get)
    [other] = machine.rglob("mine.py")
    assert other != copy


def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", body="return 1"))
    cell, bundles = submitted(tmp_path, "mine")
    monkeypatch.setattr("os.getuid", lambda: 4242)
    load_submitted(cell, bundles.get)
    assert built() == 1
    [copy] = machine.rglob("mine.py")
    assert not list(machine.glob("stn-cluster-4242/*"))
    assert copy.is_relative_to(machine)
    plugin_bundles._own_cache.cache_clear()


def test_a_folder_that_stood_open_is_closed(tmp_path: Path, machine: Path) -> None:
    for folder in (
        machine / f"stn-cluster-{os.getuid()}",
        machine / f"stn-cluster-{os.getuid()}/plugins",
    ):
        folder.mkdir()
        folder.chmod(0o777)
    write(tmp_path, "mine.py", a_model("Mine"))
    cell, bundles = submitted(tmp_path, "mine")
    load_submitted(cell, bundles.get)
    [copy] = machine.rglob("mine.py")
    assert {parent.stat().st_mode & 0o077 for parent in copy.parents[2:4]} == {0}


def test_an_edit_after_the_cells_were_made_is_noticed_when_they_are_packed(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", a_model("Mine"))
    [cell] = cells_of(tmp_path, "mine", models=["Mine"])
    plugin = known_plugin(str(cell.revisions["model:Mine"]))
    assert plugin is not None
    _, description = pack(plugin)
    assert changed_files(description) == []
    assert json.loads(description)["module"] == "mine"
    path.write_text(a_model("Mine", "x = 1"))
    assert changed_files(description) == ["mine.py"]
    with pytest.raises(UserError, match="'mine' has been edited since this run began; run it"):
        pack(plugin)
    path.unlink()
    assert changed_files(description) == []


@pytest.mark.parametrize("name", ["data/second.csv", "maybe.py"])
def test_files_that_are_new_or_gone_have_changed_too(tmp_path: Path, name: str) -> None:
    before = f"{HERE}D = HERE / 'data'\ntry:\n    import maybe\nexcept ImportError: pass"
    write(tmp_path, "mine.py", a_model("Mine", before))
    first = write(tmp_path, "data/first.csv", "1")
    [cell] = cells_of(tmp_path, "mine", models=["Mine"])
    plugin = known_plugin(str(cell.revisions["model:Mine"]))
    assert plugin is not None
    _, description = pack(plugin)
    new = write(tmp_path, name, "x = 2")
    assert changed_files(description) == [name]
    new.unlink()
    assert changed_files(description) == []
    first.unlink()
    assert changed_files(description) == ["data/first.csv"]


def test_a_folder_that_a_plugin_puts_on_the_path_later_has_come_with_it(tmp_path: Path) -> None:
    body = "import sys\nsys.path.insert(0, str(HERE / 'lib'))\nimport below\nreturn below.x"
    write(tmp_path, "mine.py", a_model("Mine", HERE, body))
    write(tmp_path, "lib/below.py", "x = 1")
    cell, bundles = submitted(tmp_path, "mine")
    load_submitted(cell, bundles.get)
    path = list(sys.path)
    try:
        assert built() == 1
    finally:
        sys.path[:] = path


def test_an_executable_file_stays_one(tmp_path: Path, machine: Path) -> None:
    tool = write(tmp_path, "tool.sh", "#!/bin/sh\necho 1")
    tool.chmod(0o755)
    write(tmp_path, "mine.py", a_model("Mine", f"{HERE}TOOL = HERE / 'tool.sh'"))
    cell, bundles = submitted(tmp_path, "mine")
    load_submitted(cell, bundles.get)
    [copy] = machine.rglob("tool.sh")
    assert subprocess.run([copy], capture_output=True, text=True, check=True).stdout == "1\n"


def test_the_same_plugin_has_the_same_digest_in_any_process(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", f"{HERE}import a, b\nW = HERE / 'w.txt'"))
    for name in ("a.py", "b.py", "w.txt"):
        write(tmp_path, name, "'w.txt'")
    [cell] = cells_of(tmp_path, "mine", models=["Mine"])
    code = (
        "from stn_cluster.registry import load_plugins, lookup; load_plugins(['mine']); "
        "print(lookup('model', 'Mine').revision)"
    )
    for _ in range(2):  # with bytecode and without
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.strip() == cell.revisions["model:Mine"], done.stderr
