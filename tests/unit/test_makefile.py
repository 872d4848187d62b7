"""`make quickstart`: what it says while it installs, and where that fails. pip is a stand-in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PIP = r"""#!/bin/sh
cat <<'END'
Obtaining file:///somewhere/stn-cluster
Collecting torch>=2.11 (from stn-cluster==0.1.0)
  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (29 kB)
  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (1.1 GB)
Downloading ray-2.52.0-cp311-cp311-manylinux2014_x86_64.whl (72.4 MB)
Using cached nvidia_cublas_cu12-12.8-py3-none-manylinux_2_27_x86_64.whl (594.3 MB)
Downloading typer-0.29-py3-none-any.whl (47 kB)
Downloading rich-14-py3-none-any.whl (1.2 MB)
Installing collected packages: torch, ray, typer, rich
END
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an environment whose Python only installs."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def quickstart(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "VENV=env", "quickstart"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_installation_is_announced_with_its_size_and_the_large_packages_are_named(
    project: Path,
) -> None:
    program(project / "env" / "bin" / "python", PIP)
    program(project / "env" / "bin" / "stn-cluster", "#!/bin/sh\necho $@\n")
    done = quickstart(project)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert "6 GB" in first
    assert lines[1:] == [
        "  downloading torch: 1.1 GB",
        "  downloading ray: 72.4 MB",
        "  nvidia_cublas_cu12: 594.3 MB, downloaded before",
        "  unpacking all of them, which takes a minute or more",
        "env/bin/stn-cluster run configs/quickstart.yaml",
        "run configs/quickstart.yaml",
    ]
    assert "Installing" not in quickstart(project).stdout  # once only


def test_an_installation_that_fails_says_why_and_is_tried_again(project: Path) -> None:
    program(project / "env" / "bin" / "python", "#!/bin/sh\necho 'ERROR: no network' >&2\nexit 1\n")
    for _ in range(2):
        done = quickstart(project)
        assert done.returncode != 0
        assert "ERROR: no network\n" in done.stderr
        assert "Not installed: see pip's errors above" in done.stderr
