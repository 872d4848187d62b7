"""URIs of stores: their filesystems, and their redaction for people."""

from __future__ import annotations

import re
from copy import copy

import pyarrow as pa
from pyarrow.fs import FileSystem

from stn_cluster.errors import StoreError


def connect(uri: str) -> tuple[FileSystem, str]:
    """Filesystem of a URI, and the root in it, without a slash at the end.

    Raises:
        StoreError: its scheme is unknown, it is not a URI, or it names no bucket or folder.
    """
    full_uri = _with_one_put(uri) if uri.startswith("s3:") else uri
    try:
        filesystem, root = FileSystem.from_uri(full_uri)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).replace(full_uri, redact(uri)).split())
        raise StoreError(f"{redact(uri)}: {reason}") from error
    if not root:
        raise StoreError(f"{redact(uri)}: names no bucket or folder")
    # A filesystem from a URI tries an unresponsive server 30 times, for 100 seconds; one from the
    # constructor, which a copy uses, tries three times. Callers that can wait longer retry.
    if uri.startswith("s3:") and "tls_verify_certificates" not in uri:  # a copy loses that option
        filesystem = copy(filesystem)
    return filesystem, root.rstrip("/")


def is_uri(place: str) -> bool:
    """Whether a store is named by a URI and not by a path.

    Raises:
        StoreError: it is a URI without its two slashes, which would be the path of a folder here.
    """
    half = re.match(r"(s3|gs|gcs|file|hdfs|viewfs|abfss?|https?):(?!//)", place)
    if half:
        raise StoreError(
            f"{place}: a URI begins with {half[0]}//; a folder of this name is ./{place}"
        )
    return "://" in place


def without_end(uri: str) -> str:
    """The URI without slashes at its end, so that a store has one name."""
    path, mark, options = uri.partition("?")
    return path.rstrip("/") + mark + options


def redact(uri: str) -> str:
    """A path, or a URI without credentials and options, for errors and logs."""
    if "://" not in uri:
        return uri
    # With a slash in the secret, it is not a valid URI, but the secret must be hidden all the same.
    return re.sub(r"//(?:.*:.*|[^/]*)@", "//", uri.partition("?")[0])


def _with_one_put(uri: str) -> str:
    """Adds the option that writes small objects with one request instead of three."""
    if "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"
