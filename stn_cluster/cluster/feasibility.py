"""Feasibility: whether this machine can ever hold the workers that a run asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from stn_cluster.cluster.placement import Node, described, required, slots
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import UserError
from stn_cluster.evaluations import WorkItem
from stn_cluster.grid import Needs


def cores_per_worker(cells: Iterable[WorkItem], settings: Settings) -> int:
    """Largest number of cores that a worker for one of the cells takes, at least 1."""
    cores = [
        settings.threads_per_worker if needs.num_cpus is None else needs.num_cpus
        for needs in _kinds(cells)
    ]
    return max(1, *map(math.ceil, cores))


def check_machine(
    cells: Iterable[WorkItem], settings: Settings, nodes: Sequence[Node], *, asked: int | None
) -> tuple[str, ...]:
    """Checks that the nodes can hold a worker for each of the cells: no other node will come.

    Args:
        cells: cells to be trained.
        settings: settings of the run.
        nodes: this machine, as Ray sees it.
        asked: number of workers that the user asked for, if any.

    Returns:
        Lines for people: the kinds of workers of which there will be fewer than `asked`.

    Raises:
        UserError: there is no room for one of them; the message names what it takes.
    """
    fewer = []
    for needs in _kinds(cells):
        needed = required(needs, settings)
        room = slots(needed, nodes)
        if not room:
            raise UserError(
                f"a worker takes {described(needed)} ({_source(needs)}), and this machine has "
                f"{_present(needed, nodes)}"
            )
        if asked is not None and room < asked:
            fewer.append(
                f"{room} worker{'s' if room > 1 else ''} and not {asked}: each takes "
                f"{described(needed)} of {_present(needed, nodes)}"
            )
    return tuple(fewer)


def _kinds(cells: Iterable[WorkItem]) -> list[Needs]:
    return list({cell.needs.text: cell.needs for cell in cells}.values())


def _source(needs: Needs) -> str:
    """Where the amounts come from."""
    return "needs in the config" if needs != Needs() else "--threads-per-worker"


def _present(needed: dict[str, float], nodes: Sequence[Node]) -> str:
    """What the nodes have of the resources that are needed."""
    amounts = {name: sum(n.resources.get(name, 0) for n in nodes if n.alive) for name in needed}
    return ", ".join(
        f"no {name}" if not amount else described({name: amount})
        for name, amount in amounts.items()
    )
