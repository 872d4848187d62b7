"""MNIST's four files: found under their usual names in the usual places, and told from others.

Fashion-MNIST and others have files of the same names and sizes, so each file is known by the
SHA-256 of its contents. It is checked whenever a file is read, on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stn_cluster.errors import UserError

SIZE = 28  # pixels, height and width of an image
BYTES = 0x800  # the format's code for unsigned bytes; the number of axes is added to it
LISTED = 6  # names of other files that a message lists


@dataclass(frozen=True)
class IdxFile:
    """One of MNIST's files.

    Source: the digests are those of the uncompressed files of Y. LeCun, C. Cortes and C. Burges.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str  # of the uncompressed contents

    @property
    def header(self) -> bytes:
        """Its first bytes: the format's code, and the length of each axis."""
        numbers = (BYTES + len(self.shape), *self.shape)
        return b"".join(number.to_bytes(4, "big") for number in numbers)

    @property
    def size(self) -> int:
        """Its uncompressed size in bytes."""
        return len(self.header) + math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that it has in other collections: with a dot, and compressed."""
        dotted = self.name.replace("-idx", ".idx")
        return (self.name, dotted, f"{self.name}.gz", f"{dotted}.gz")


FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, SIZE, SIZE),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, SIZE, SIZE),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def folders(root: Path) -> tuple[Path, ...]:
    """Folders that are searched, in this order; torchvision's comes first."""
    return (root / "MNIST" / "raw", root / "raw", root, root / "MNIST")


def find(root: Path) -> dict[str, bytearray]:
    """Uncompressed contents of those of MNIST's files that are under a data root, by name.

    Raises:
        UserError: a file of that name is there, but it is damaged, unreadable or another data
            set's, and no right one is; or a folder cannot be listed.
    """
    found = {file.name: _find(root, file) for file in FILES}
    return {name: content for name, content in found.items() if content is not None}


def present(root: Path) -> str:
    """What is in the first searched folder that has anything, for a message; '' if none has."""
    for folder in folders(root):
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError:  # it is not there, or may not be listed
            continue
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            return f"{folder} has {', '.join(names[:LISTED])}{more}"
    return ""


def contents_of(file: IdxFile, packed: bytes) -> bytearray:
    """The uncompressed contents of a downloaded file.

    Raises:
        ValueError: it is not this file; the message says what is wrong with it.
    """
    content = _uncompressed(packed)
    if fault := _fault(file, content):
        raise ValueError(fault)
    return content


def _find(root: Path, file: IdxFile) -> bytearray | None:
    fault: UserError | None = None
    for path in _candidates(root, file):
        try:
            content = path.read_bytes()
            return contents_of(file, content)
        except OSError as error:
            fault = fault or UserError(f"{path}: cannot be read: {error.strerror or error}")
        except ValueError as error:
            fault = fault or UserError(
                f"{path}: {error}: remove it to download it again, or put the right file there"
            )
    if fault:
        raise fault
    return None


def _candidates(root: Path, file: IdxFile) -> Iterator[Path]:
    for folder in folders(root):
        for name in file.names:
            path = folder / name
            try:
                there = path.is_file()  # some archives have folders of these names
            except OSError as error:
                raise UserError(f"{path}: cannot be read: {error.strerror}") from error
            if there:
                yield path


def _uncompressed(packed: bytes) -> bytearray:
    if not packed.startswith(b"\x1f\x8b"):
        return bytearray(packed)
    try:
        return bytearray(gzip.decompress(packed))
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"is not a whole gzip file ({reason})") from error


def _fault(file: IdxFile, content: bytearray) -> str | None:
    """What is wrong with the contents of a file; None if they are MNIST's."""
    digest = hashlib.sha256(content).hexdigest()
    if digest == file.sha256:
        return None
    for other in FILES:
        if digest == other.sha256:
            return f"has the contents of {other.name}"
    if len(content) != file.size:
        return f"has {len(content):,} bytes, MNIST's has {file.size:,}"
    if not content.startswith(file.header):
        begins = content[: len(file.header)].hex(" ", 4)
        return f"is not MNIST's: it begins with {begins}, MNIST's with {file.header.hex(' ', 4)}"
    return (
        f"has the size of MNIST's but not its contents (SHA-256 {digest[:12]}..., MNIST's is "
        f"{file.sha256[:12]}...); Fashion-MNIST and others have files of the same name"
    )
