"""A service on a Ray cluster: one coordinator, by name, for one store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stn_cluster import __version__
from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.coordinator_client import Client
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, UserError
from stn_cluster.grid import short_hash
from stn_cluster.store import redact

NAMESPACE = "stn-cluster"
HEAD = "node:__internal_head__"  # a resource that Ray gives the head node alone
MAX_CALLS = 1000  # at a time; the event loop answers them in turns


def start(
    settings: Settings,
    coordinator: type[Coordinator] = Coordinator,
    environment: Mapping[str, str] | None = None,
) -> Client:
    """Starts the store's coordinator, or finds it; Ray must be connected.

    It is on the head node, Ray restarts it whenever it dies, and it outlives this process.

    Args:
        settings: of the service.
        coordinator: what to start.
        environment: variables of its process and of its workers', beside those they have anyway.

    Raises:
        UserError: store or queue cannot be used, another service holds one of them, or the
            coordinator that is there runs another version.
    """
    found = _find(settings.store)
    if found is None:
        head = next(node["NodeID"] for node in ray.nodes() if HEAD in node["Resources"])
        actor_class: Any = ray.remote(coordinator)
        found = actor_class.options(
            name=_name(settings.store),
            namespace=NAMESPACE,
            get_if_exists=True,  # someone else may have been quicker
            lifetime="detached",
            max_restarts=-1,
            max_concurrency=MAX_CALLS,
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False),
            runtime_env={"env_vars": dict(environment)} if environment else None,
        ).remote(settings)
    client = _client(found)
    try:
        running = client.settings()
    except EndedError:  # it is still at its last words
        raise
    except UserError:
        ray.kill(found)  # it never served anyone
        raise
    if running.state != settings.state:
        raise UserError(
            f"{redact(settings.store)}: is served already, with its state in {running.state} and "
            f"not in {settings.state}"
        )
    return client


def is_running(store: str) -> bool:
    """Whether a coordinator serves the store; Ray must be connected."""
    return _find(store) is not None


def find(store: str) -> Client:
    """The coordinator that serves a store; Ray must be connected.

    Raises:
        UserError: there is none, or it runs another version.
    """
    found = _find(store)
    if found is None:
        raise UserError(f"{redact(store)}: no service on this cluster has this store")
    return _client(found)


def _find(store: str) -> Any:
    try:
        return ray.get_actor(_name(store), NAMESPACE)
    except ValueError:
        return None


def _client(actor: Any) -> Client:
    client = Client(actor)
    if (version := client.version()) != __version__:
        raise UserError(
            f"the coordinator runs stn-cluster {version}, and this is {__version__}: "
            "use the same on both sides"
        )
    return client


def _name(store: str) -> str:
    return f"coordinator-{short_hash(store, digits=16)}"
