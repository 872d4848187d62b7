"""Refreshes the JavaScript libraries of the page, which are kept in the repository.

    python jobs/vendor_page.py

Takes the newest version of each from npm (`npm pack`, which runs nothing of it), makes modules that
browsers load without a build step, and writes their versions, licences and SHA-256 to
`stn_cluster/page/vendor/vendored.json`. Look at what has changed, then run the tests of the page.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "stn_cluster" / "page" / "vendor"
LARGEST = 80_000  # bytes of all files
_MAP = re.compile(r"\n?(//|/\*)# sourceMappingURL=\S+( \*/)?\s*$")  # maps are not vendored


def _as_module(text: str) -> str:
    """uPlot's script, which makes a global variable, as a module."""
    return text.rstrip() + "\nexport default uPlot;\n"


def _beside(text: str) -> str:
    """A module that imports Preact by its name, which only a build step can resolve."""
    return text.replace('from"preact"', 'from"./preact.js"')


@dataclass(frozen=True)
class Library:
    """A library, and which of its files are taken.

    Attributes:
        name: its name in npm's registry.
        licence: its licence's SPDX name.
        files: names here by names in its package.
        change: what makes a module of it, and a line that says so.
    """

    name: str
    licence: str
    files: dict[str, str]
    change: tuple[Callable[[str], str], str] | None = None


LIBRARIES = (
    Library(
        "preact",
        "MIT",
        {
            "dist/preact.mjs": "preact.js",
            "hooks/dist/hooks.mjs": "hooks.js",
            "LICENSE": "preact.licence.txt",
        },
        (_beside, "hooks.js imports ./preact.js"),
    ),
    # Its licence is the one of this project, whose text is in LICENSE.
    Library("htm", "Apache-2.0, Copyright 2018 Google Inc.", {"dist/htm.module.js": "htm.js"}),
    Library(
        "uplot",
        "MIT",
        {
            "dist/uPlot.iife.min.js": "uplot.js",
            "dist/uPlot.min.css": "uplot.css",
            "LICENSE": "uplot.licence.txt",
        },
        (
            lambda text: _as_module(text) if "var uPlot" in text else text,
            "uplot.js exports the variable that it makes",
        ),
    ),
)


def main() -> None:
    """Writes all files anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        records = [_vendored(library, Path(folder)) for library in LIBRARIES]
    for old in set(FOLDER.iterdir()) - {FOLDER / name for one in records for name in one["files"]}:
        old.unlink()
    (FOLDER / "vendored.json").write_text(json.dumps(records, indent=2) + "\n")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{FOLDER}: {size:,} bytes, of at most {LARGEST:,}")


def _vendored(library: Library, folder: Path) -> dict[str, object]:
    """Writes the files of a library, and returns its record."""
    command = ["npm", "pack", "--json", library.name]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    (packed,) = json.loads(done.stdout)
    sums = {}
    with tarfile.open(folder / packed["filename"]) as package:
        for source, name in library.files.items():
            member = package.extractfile(f"package/{source}")
            assert member is not None, f"{library.name}: no file {source}"
            text = _MAP.sub("\n", member.read().decode())
            content = (library.change[0](text) if library.change else text).encode()
            (FOLDER / name).write_bytes(content)
            sums[name] = hashlib.sha256(content).hexdigest()
    return {
        "name": library.name,
        "version": packed["version"],
        "licence": library.licence,
        "source": f"npm, {packed['integrity']}",
        "changes": ["source maps are left out", *(library.change[1:] if library.change else ())],
        "files": sums,
    }


if __name__ == "__main__":
    main()
