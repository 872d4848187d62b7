"""Models as configs choose them: their names, and their files of weights."""

from __future__ import annotations

import socket
from pathlib import Path

from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.networks import ModelChoice, Network
from stn_cluster.registry.components import Entry, find, lookup
from stn_cluster.registry.dataset_lookup import DEFAULT_ROOT
from stn_cluster.registry.file_digests import digest_file


def find_model(choice: ModelChoice) -> Entry:
    """The registered model of a choice.

    Raises:
        UserError: there is none; or another one has the name that the choice gives it.
    """
    entry = lookup("model", choice.name)
    shown = str(choice)
    if shown != choice.name and find("model", shown) is not None:
        raise UserError(f"as: {shown!r} is another model; choose a name of its own")
    return entry


def network_of(choice: ModelChoice, info: DatasetInfo, data_root: Path | None) -> Network | None:
    """Composition of a choice's model; None for the registered one.

    Raises:
        UserError: the file of weights cannot be read; or mean and std do not fit the channels.
    """
    if choice.is_plain:
        return None
    if choice.mean is not None and len(choice.mean) not in (1, info.channels):
        raise UserError(
            f"{choice}: mean and std have {len(choice.mean)} numbers, and the images "
            f"{info.channels} channel{'s' if info.channels > 1 else ''}"
        )
    digest = None if choice.weights is None else _digest(choice.weights, data_root)
    return Network(
        name=choice.name,
        mean=choice.mean,
        std=choice.std,
        weights=choice.weights,
        digest=digest,
    )


def check_weights(cell: Cell, data_root: Path | None) -> Path:
    """The file of a cell's weights, which is on this machine the one that its key stands for.

    Raises:
        UserError: it is another one, or cannot be read.
    """
    assert cell.network is not None
    assert cell.network.weights is not None
    digest = _digest(cell.network.weights, data_root)
    path = (data_root or DEFAULT_ROOT) / cell.network.weights
    if digest != cell.network.digest:
        raise UserError(
            f"weights {cell.network.weights}: the file on {socket.gethostname()}, {path}, is not "
            f"the one that this cell was made for (it is {digest}, not {cell.network.digest}): "
            "copy the same file there, or run it again"
        )
    return path


def with_present_weights(cell: Cell, data_root: Path | None) -> Cell:
    """Copy of a stored cell with the present digest of its file of weights, if it has one.

    Raises:
        UserError: the file cannot be read.
    """
    network = cell.network
    if network is None or network.weights is None:
        return cell
    present = network.model_copy(update={"digest": _digest(network.weights, data_root)})
    return cell.model_copy(update={"network": present})


def _digest(file: str, data_root: Path | None) -> str:
    root = data_root or DEFAULT_ROOT
    path = root / file
    if not path.is_file():
        raise UserError(f"weights: {file}: no such file in the data root {root}")
    return digest_file(root, path)
