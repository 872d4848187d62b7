"""Files under one root, on a local disk or an object store, through pyarrow.fs.

Files are written atomically: locally under tmp/, then synced and renamed; on an object store with
one PUT.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, itemgetter
from pathlib import Path
from stat import S_IMODE
from uuid import uuid4

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from stn_cluster.errors import StoreError, storable
from stn_cluster.failpoints import failpoint
from stn_cluster.paths import check_folder, user_path
from stn_cluster.private_files import give_to_owner_of
from stn_cluster.store.uris import connect, is_uri, redact

_SMALL = 1 << 20  # bytes of a file whose parts are not worth a request each


@dataclass(frozen=True)
class Files:
    """Files by their names relative to the root, as in 'cells/a.parquet'.

    Every method raises StoreError, with the file and the cause, if the disk or network fails.
    """

    uri: str
    filesystem: FileSystem
    root: str  # path in the filesystem, without a slash at the end
    # Files that a compacted file has replaced, by its name; see `store.current`.
    remembered: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def at(cls, uri: str | os.PathLike[str]) -> Files:
        """Files below a local path (absolute or relative) or a URI; does not access it yet.

        Raises:
            StoreError: the URI's scheme is unknown, or it is not a URI.
            UserError: the path has no home folder, see `user_path`.
        """
        text = os.fspath(uri)
        if not text:
            raise StoreError("the store's path is empty")
        if not is_uri(text):
            path = str(user_path(text).absolute())
            if path != storable(path):
                raise StoreError(f"{path!r}: a store's path must be UTF-8")
            return cls(path, LocalFileSystem(), path)
        return cls(text, *connect(text))

    @property
    def local(self) -> Path | None:
        """The root as a path, if it is on a local filesystem."""
        return Path(self.root) if isinstance(self.filesystem, LocalFileSystem) else None

    def where(self, name: str = "") -> str:
        """Full path of a file, for people to read."""
        place = self.root if self.local else redact(self.uri)
        return f"{place.rstrip('/')}/{name}" if name else place

    def is_file(self, name: str = "") -> bool:
        """Whether there is a file with this name; '' is the root."""
        if name and self.local:  # without the root, nobody can know
            with self._errors(name, "read"):
                _there(self.local)
        return bool(self._type(name) == FileType.File)

    def is_folder(self, name: str = "") -> bool:
        """Whether there is a folder with this name, or objects below it; '' is the root."""
        return bool(self._type(name) == FileType.Directory)

    def names(self, folder: str, ending: str = "") -> list[str]:
        """Files below a folder, at any depth, sorted by name."""
        return sorted(name for name, _ in self.dated(folder) if name.endswith(ending))

    def dated(self, folder: str) -> list[tuple[str, int]]:
        """Files below a folder, at any depth, with the time of the last write (nanoseconds).

        Hidden ones are left out, as by pandas: those with a name, or in a folder, that begins with
        '.' or '_'. Desktops and notebooks make such files: ._a.parquet, .ipynb_checkpoints/.
        """
        return [(name, info.mtime_ns or 0) for name, info in self._listed(folder)]

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each file that `names` has, in the order of the names."""
        return {
            name: info.size or 0 for name, info in sorted(self._listed(folder), key=itemgetter(0))
        }

    def is_inside(self, name: str) -> bool:
        """Whether a file lies where its name says, and not in a folder that a link leads to.

        Whoever may write into a folder of the store can put a link there; nothing is to be removed
        where it leads. The folders of the root themselves may be links.
        """
        if self.local is None:
            return True
        folder = self.local / name.partition("/")[0]
        return (self.local / name).parent.resolve().is_relative_to(folder.resolve())

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            StoreError: it does not exist, or cannot be read.
        """
        with self._errors(name, "read"), self.filesystem.open_input_file(self._path(name)) as file:
            content: bytes = file.read()
        return content

    def open(self, name: str) -> pa.NativeFile:
        """A file, opened to be read in parts; of a small one, all was read.

        Raises:
            StoreError: it does not exist, or cannot be read.
        """
        with self._errors(name, "read"):
            file = self.filesystem.open_input_file(self._path(name))
            if file.size() > _SMALL:
                return file
            with file:
                return pa.BufferReader(file.read_buffer())

    def check_root(self) -> None:
        """Checks that the root can be made and written to, and leaves nothing there."""
        with self._errors("", "made"):
            if self.local:
                check_folder(self.local)
                return
            bucket = self.root.partition("/")[0]
            if self.filesystem.get_file_info(bucket).type is FileType.NotFound:
                raise FileNotFoundError(f"Bucket '{bucket}' not found")
        probe = f"tmp/{uuid4().hex}"
        self.write(probe, b"")
        self.remove(probe)

    def make_folder(self, name: str) -> None:
        """Makes a folder and its parents."""
        with self._errors(name, "made"):
            self.filesystem.create_dir(self._path(name), recursive=True)

    def write(self, name: str, content: bytes, like: Sequence[str] = ()) -> None:
        """Makes or replaces a file atomically: a reader sees the old content or the new one.

        Args:
            name: of the file.
            content: of the file.
            like: whoever may read all of these files may read this one, on a local disk. Its owner
                and group are those of the first, as far as this process may give it away.
        """
        with self._errors(name, "written"):
            if self.local:
                _there(self.local)
                _write_durably(self.local, name, content, [(self.local / n).stat() for n in like])
                return
            # Not a `with`: closing creates the object, so it must follow a complete write.
            stream = self.filesystem.open_output_stream(self._path(name))
            stream.write(content)
            stream.close()

    def append(self, name: str, content: bytes) -> None:
        """Appends to a file, which is made if necessary; for logs: it does not sync.

        On an object store it rewrites the whole file each time: 0.4 s for 10 MB, on one machine.
        """
        if self.local is None:  # nothing can be appended to an object
            self.write(name, (self.read(name) if self.is_file(name) else b"") + content)
            return
        with self._errors(name, "written"):
            path = Path(self.root, name)
            try:  # most are the first of their folder, and most folders are in one that exists
                path.parent.mkdir()
            except FileExistsError:
                pass
            except FileNotFoundError:
                _there(self.local)
                path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content)

    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""
        with self._errors(name, "removed"):
            if self.local:
                _there(self.local)
            if self.is_file(name):
                self.filesystem.delete_file(self._path(name))

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Removes those of these folders, and of those above them, that are empty; an object store
        has none."""
        root = self.local
        if root is None:
            return
        for folder in folders:
            place = root / folder
            with suppress(OSError):  # it is not empty
                while place.parent != root:
                    place.rmdir()
                    place = place.parent

    def _listed(self, folder: str) -> list[tuple[str, FileInfo]]:
        selector = FileSelector(self._path(folder), allow_not_found=True, recursive=True)
        with self._errors(folder, "listed"):
            infos = self.filesystem.get_file_info(selector)
        try:
            files = [(info.path[len(self.root) + 1 :], info) for info in infos]
        except UnicodeDecodeError as error:
            raise StoreError(
                f"{self.where(folder)}: has a file or folder that is not the store's, as its name "
                f"is not UTF-8: {self._name_that_is_no_text(folder)!r}: remove or rename it"
            ) from error
        return [
            (name, info)
            for name, info in files
            if info.type == FileType.File and not _is_hidden(name)
        ]

    def _name_that_is_no_text(self, folder: str) -> str:
        """The first such name, or '' if it is not there any more; objects have none."""
        for place, folders, files in os.walk(self._path(folder)):
            for name in (*folders, *files):
                if name != storable(name):
                    return str(Path(place, name).relative_to(self._path(folder)))
        return ""

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _type(self, name: str) -> FileType:
        with self._errors(name, "read"):
            return self.filesystem.get_file_info(self._path(name)).type

    @contextmanager
    def _errors(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{self.where(name)}: cannot be {done}: {_one_line(error)}") from error


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _there(root: Path) -> None:
    """Raises if the root is missing, instead of making it again: its disk may be unmounted."""
    if not root.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the store's folder is not there")


def _write_durably(root: Path, name: str, content: bytes, like: Sequence[os.stat_result]) -> None:
    """Writes a file atomically; once this returns, it survives a power cut."""
    tmp, target = root / "tmp", root / name
    new = [folder for folder in (tmp, *target.parents) if not folder.exists()]
    tmp.mkdir(exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in new if like else ():
        _give_folder(folder, root)  # of root: the service goes on with it
    draft = tmp / f"{uuid4().hex}-{target.name}"
    try:
        with draft.open("xb") as file:
            file.write(content)
            if like:
                _give_to(file.fileno(), like)
            file.flush()
            os.fsync(file.fileno())
        failpoint(f"{_kind(name)}-drafted")
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    for folder in (target.parent, *(folder.parent for folder in new)):
        _sync_folder(folder)  # its entries are the names of new files and folders


def _give_to(descriptor: int, like: Sequence[os.stat_result]) -> None:
    """Lets those read and write an open file who may do so with all of some others."""
    with suppress(PermissionError):
        os.fchown(descriptor, like[0].st_uid, -1)  # of root: the service goes on with it
    with suppress(PermissionError):
        os.fchown(descriptor, -1, like[0].st_gid)
    os.fchmod(descriptor, S_IMODE(reduce(and_, (one.st_mode for one in like))))


def _give_folder(folder: Path, root: Path) -> None:
    """Gives a folder to the owner of the store, as far as this process may."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give_to_owner_of(root, descriptor)
    finally:
        os.close(descriptor)


def _kind(name: str) -> str:
    """Kind of a file: 'cells' under cells/, 'checkpoint' under checkpoints/."""
    folder = name.partition("/")[0]
    return "checkpoint" if folder == "checkpoints" else folder


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _one_line(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(str(reason).split())
