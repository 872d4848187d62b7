"""Root prunes and compacts the store of another user, who goes on with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.grown_stores import GrownStore
from support.queues import cells
from support.refusals import Command

USER = 65_534  # nobody
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def grown() -> Iterator[GrownStore]:
    with tempfile.TemporaryDirectory(
        prefix="stn-cluster-test-"
    ) as folder:  # root alone sees pytest's
        Path(folder).chmod(0o755)
        found = GrownStore(Path(folder, "store"))
        found.train("a", cells(3))
        found.train("b", cells(2), force=True)
        for path in (found.folder, *found.folder.rglob("*")):
            os.chown(path, USER, USER)
        found.state.chmod(0o700)
        for path in found.state.iterdir():
            path.chmod(0o600)
        yield found


def owners(grown: GrownStore) -> dict[str, int]:
    """Files and folders that do not belong to the user."""
    paths = (grown.folder, *grown.folder.rglob("*"))
    return {str(p): p.lstat().st_uid for p in paths if p.lstat().st_uid != USER}


def as_user(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as the user, who may not read the sources: they are loaded before."""
    code = (
        "import os, sys, pyarrow, sqlite3, stn_cluster.cluster.pruning, stn_cluster.cli.prune\n"
        "from stn_cluster.cli import main\n"
        f"os.setgroups([]); os.setgid({USER}); os.setuid({USER})\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


def test_all_still_belongs_to_the_user(grown: GrownStore, command: Command) -> None:
    (grown.folder / "tmp").rmdir()
    assert command("compact", grown.folder).code == 0
    assert owners(grown) == {}
    assert command("prune", grown.folder, "--superseded").code == 0
    assert owners(grown) == {}
    assert command("prune", grown.folder, "--job", "a").code == 0
    assert owners(grown) == {}
    assert (grown.folder / "lock").stat().st_mode & 0o777 == 0o600
    done = as_user("prune", grown.folder, "--job", "b")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert owners(grown) == {}


@pytest.mark.parametrize("name", ["lock", "queue/lock"])
def test_a_lock_that_belongs_to_root_is_told_to_the_user(grown: GrownStore, name: str) -> None:
    lock = grown.folder / name
    lock.touch(0o600)
    done = as_user("prune", grown.folder, "--job", "b")
    assert (done.returncode, done.stdout) == (2, ""), done
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"stn-cluster: {lock}: cannot be locked: it belongs to root, and this is "
    )
    assert f": chown nobody {lock}" in line


def test_nothing_that_a_link_leads_to_is_given_away(
    grown: GrownStore, command: Command, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    (grown.folder / "lock").symlink_to(secret)
    command("prune", grown.folder, "--superseded")
    assert secret.stat().st_uid == 0
    (grown.folder / "lock").unlink()
    os.link(secret, grown.folder / "lock")
    command("prune", grown.folder, "--superseded")
    assert secret.stat().st_uid == 0
    assert secret.read_text() == "of root"
