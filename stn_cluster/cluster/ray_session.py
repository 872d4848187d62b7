"""Ray's session folder on this machine, which Ray leaves open to everybody (0777).

It has the code that its jobs bring, and the sockets of its processes: who can write into it can
have this user run their code.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stn_cluster.private_files import OWNER_ALONE, close_file


def close_session(mask: int = OWNER_ALONE) -> None:
    """Takes the rights of a mask from the session folder, where it is ours; Ray must be connected.

    Where it is somebody else's, they started Ray, and whoever has its token may be another user.
    """
    from ray._private import worker  # Ray has no public name for the folder

    node = getattr(worker, "_global_node", None)
    if node is not None:
        with suppress(Exception):  # another version of Ray may have it elsewhere
            close_file(Path(node.get_session_dir_path()), mask)
