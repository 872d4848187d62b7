"""Connections to a Ray cluster, and to the coordinator of a store on it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stn_cluster import __version__
from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.placement import Node, parse_nodes
from stn_cluster.cluster.ray_probe import check_address, unusable
from stn_cluster.cluster.ray_session import close_session
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import ServiceError, UserError
from stn_cluster.grid import short_hash
from stn_cluster.store import redact

log = logging.getLogger(__name__)

NAMESPACE = "stn-cluster"
HEAD = "node:__internal_head__"  # a resource that only Ray's head node has
MAX_CALLS = 1000  # concurrent calls of the coordinator, all on its event loop
SILENT_SECONDS = 20.0  # for the coordinator's process to start, before anything is said
START_SECONDS = 300.0  # the same, before it is given up


@contextlib.contextmanager
def ray_cluster(address: str = "auto") -> Iterator[None]:
    """Connects to a Ray cluster within the block.

    Raises:
        UserError: there is no cluster at the address, or it does not let this process in.
    """
    check_address(address)
    if ray.is_initialized():
        raise UserError("Ray runs in this process already: call ray.shutdown() first")
    try:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except Exception as error:  # it depends on the whole environment, and raises anything
            raise unusable(address, error) from error
        close_session()
        yield
    finally:
        ray.shutdown()


def with_gpus(settings: Settings, gpu: bool | None = None) -> Settings:
    """Sets whether each worker has a GPU: as requested, or if any node has one.

    Ray must be connected.
    """
    return replace(settings, gpu=ray.cluster_resources().get("GPU", 0) > 0 if gpu is None else gpu)


def present_nodes() -> list[Node]:
    """Nodes of the cluster; Ray must be connected."""
    return parse_nodes(ray.nodes())


def start(
    settings: Settings,
    coordinator: type[Coordinator] = Coordinator,
    environment: Mapping[str, str] | None = None,
) -> CoordinatorClient:
    """Starts the store's coordinator, or connects to it if it runs; Ray must be connected.

    Args:
        settings: settings of the service.
        coordinator: class of the actor.
        environment: additional environment variables of its process and its workers.

    Raises:
        UserError: see `find_or_start` and `check_served`.
    """
    client, started_here = find_or_start(settings, coordinator, environment)
    try:
        check_served(client, settings)
    except ServiceError:  # it is unavailable, or has ended and must keep the reason for others
        raise
    except UserError:
        if started_here:  # it has no other clients
            client.kill()
        raise
    return client


def find_or_start(
    settings: Settings,
    coordinator: type[Coordinator] = Coordinator,
    environment: Mapping[str, str] | None = None,
) -> tuple[CoordinatorClient, bool]:
    """Finds the store's coordinator, or starts it; returns it, and whether it was started here.

    It is a detached actor on the head node: Ray restarts it when it dies, and it outlives this
    process. Arguments: see `start`.

    Raises:
        UserError: the running coordinator has another version.
    """
    actor, started_here = _find(settings.store), False
    if actor is None:
        actor, started_here = _start(settings, coordinator, environment)
    try:
        return _client(actor), started_here
    except BaseException:  # an interrupt, too
        if started_here:
            ray.kill(actor)
        raise


def check_served(client: CoordinatorClient, settings: Settings) -> None:
    """Waits until the coordinator has opened store and queue.

    Raises:
        UserError: one of them cannot be used, another service holds it, or the coordinator has
            its state in another folder than these settings.
    """
    running = client.settings()
    if running.state != settings.state:
        raise UserError(
            f"{redact(settings.store)}: is served already, with its state in {running.state} and "
            f"not in {settings.state}"
        )


def _start(
    settings: Settings, coordinator: type[Coordinator], environment: Mapping[str, str] | None
) -> tuple[Any, bool]:
    """Starts the coordinator; returns it, and whether it is new: another process may be faster."""
    head = next(node["NodeID"] for node in ray.nodes() if HEAD in node["Resources"])
    actor_class: Any = ray.remote(coordinator)
    options = actor_class.options(
        name=_name(settings.store),
        namespace=NAMESPACE,
        lifetime="detached",
        max_restarts=-1,
        max_concurrency=MAX_CALLS,
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False),
        runtime_env={"env_vars": dict(environment)} if environment else None,
    )
    try:
        return options.remote(settings), True
    except ValueError:  # the name is taken
        return ray.get_actor(_name(settings.store), NAMESPACE), False


def find(store: str) -> CoordinatorClient:
    """Finds the coordinator that serves a store; Ray must be connected.

    Raises:
        UserError: there is none, or it has another version.
    """
    actor = _find(store)
    if actor is None:
        raise UserError(f"{redact(store)}: no service on this cluster has this store")
    return _client(actor)


def _find(store: str) -> Any:
    try:
        return ray.get_actor(_name(store), NAMESPACE)
    except ValueError:
        return None


def _client(actor: Any) -> CoordinatorClient:
    client = CoordinatorClient(actor)
    # Ray starts a process that does not come up again and again, and says nothing.
    message = f"waiting for Ray to start the coordinator; its logs are in {_logs()}"
    told = threading.Timer(SILENT_SECONDS, log.warning, [message])
    told.daemon = True
    told.start()
    try:
        version = client.with_patience(START_SECONDS, START_SECONDS).version()
    finally:
        told.cancel()
    if version != __version__:
        raise UserError(
            f"the coordinator runs stn-cluster {version}, but this is {__version__}: "
            "use the same version on both sides"
        )
    return client


def _logs() -> str:
    """Folder of Ray's logs on this machine."""
    node = getattr(ray._private.worker, "_global_node", None)
    return str(node.get_logs_dir_path()) if node else "Ray's session folder"


def _name(store: str) -> str:
    return f"coordinator-{short_hash(store, digits=16)}"
