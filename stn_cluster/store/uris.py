"""A store's URI: the filesystem that it leads to, and what of it people may see."""

from __future__ import annotations

import re
from copy import copy

import pyarrow as pa
from pyarrow.fs import FileSystem

from stn_cluster.errors import StoreError


def connect(uri: str) -> tuple[FileSystem, str]:
    """The filesystem of a URI, and the root in it, without a slash at the end.

    Raises:
        StoreError: its scheme is unknown, it is not a URI, or it names no bucket or folder.
    """
    asked = _with_one_put(uri) if uri.startswith("s3:") else uri
    try:
        filesystem, root = FileSystem.from_uri(asked)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).replace(asked, redact(uri)).split())
        raise StoreError(f"{redact(uri)}: {reason}") from error
    if not root:
        raise StoreError(f"{redact(uri)}: names no bucket or folder")
    # From a URI, pyarrow tries a server that is silent 30 times, for 100 seconds; a copy is made
    # by the constructor, and tries three times. Who can wait for longer asks again.
    if uri.startswith("s3:") and "tls_verify_certificates" not in uri:  # a copy forgets that one
        filesystem = copy(filesystem)
    return filesystem, root.rstrip("/")


def redact(uri: str) -> str:
    """A path, or a URI without the credentials and options it may carry: for errors and logs."""
    if "://" not in uri:
        return uri
    # A secret with a slash in it is no URI, but it is no less a secret.
    return re.sub(r"//(?:.*:.*|[^/]*)@", "//", uri.partition("?")[0])


def _with_one_put(uri: str) -> str:
    """Else even a small object is three requests, as an upload in parts."""
    if "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"
