"""Embedded Ray: a private Ray instance of this process, for the duration of a run."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from stn_cluster.cluster.abandoned_runs import PREFIX, WORK, marked, remove_abandoned
from stn_cluster.cluster.private_ray import (
    absolute_python_path,
    forget_token,
    minimal_ray,
    own_process_group,
    private_environment,
)
from stn_cluster.cluster.ray_errors import why
from stn_cluster.errors import UserError
from stn_cluster.thread_binding import unbound

# Most bytes of a folder for temporary files: below it, Ray's sockets have names of 107 bytes, the
# most that Linux accepts.
LONGEST_FOLDER = 28
FEWEST_FILES = 256  # open files that Ray's processes need each
_running = threading.Lock()  # Ray, the environment and the working folder are the process's


@dataclass(frozen=True)
class Resources:
    """Number of workers that this machine can run."""

    workers: int
    gpu: bool  # whether each worker has a GPU


@contextlib.contextmanager
def embedded_ray(workers: int | None, cores_per_worker: int) -> Iterator[Resources]:
    """Starts a private Ray for the block; the environment's Ray has no part in it.

    While Ray starts, the process has another working folder and no variables RAY_*; within the
    block, it has no variables that bind threads to cores.

    Args:
        workers: number of workers; None: as many as the machine can run.
        cores_per_worker: number of cores that a worker takes at most, at least 1.

    Raises:
        UserError: Ray runs in this process already, or cannot start here.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone())
        stack.enter_context(unbound())
        folder = stack.enter_context(_short_folder())
        ray_folder, work = folder / "r", folder / WORK
        work.mkdir()
        (work / "README").write_text("The working folder of stn-cluster's processes.\n")
        with private_environment():
            import ray  # reads the environment, too

            if ray.is_initialized():
                raise UserError(
                    "Ray runs in this process already, and a grid needs its own: call "
                    "ray.shutdown() first, or run it in another process"
                )
            _check_open_files()
            forget_token()
            stack.callback(forget_token)  # ours: it is of no use to the user's own Ray
            # Ray prints errors of workers to our stdout, even with log_to_driver=False. But stdout
            # is for the table, and the errors are in the attempts' logs.
            stack.enter_context(patch("ray._private.worker.print_to_stdstream", _silently))
            if threading.current_thread() is threading.main_thread():  # Ray sets a handler
                stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
            stack.callback(ray.shutdown)
            # Ray adds our working folder to the workers' path, where a user's file could shadow a
            # library, so it starts in an empty one. (A runtime_env could do that, too, but without
            # one Ray pre-starts processes: the first step is nearly two seconds earlier.)
            with (
                absolute_python_path(),
                contextlib.chdir(work),
                minimal_ray(),
                own_process_group(),
            ):
                _init(_logical_cores(workers, cores_per_worker), ray_folder)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        fitting = max(1, _cores() // cores_per_worker)
        yield Resources(workers or gpus or fitting, gpus > 0)


def _init(cores: int, folder: Path) -> None:
    import ray

    shared_memory = os.access("/dev/shm", os.W_OK)
    try:
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=256 * 2**20,  # bytes; only reports pass through it
            _temp_dir=str(folder),
            _plasma_directory=None if shared_memory else str(folder.parent),
        )
    except Exception as error:  # it depends on the whole machine, and raises anything
        raise UserError(f"Ray does not start on this machine: {why(error)}") from error


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Refuses a second run in the same process."""
    if not _running.acquire(blocking=False):
        raise UserError(
            "this process runs a grid already: run one after the other, or in another process"
        )
    try:
        yield
    finally:
        _running.release()


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    """Makes a folder of our own for temporary files, and removes it after the block.

    It is where Python makes such files, unless that has a long path: then it is under /tmp.

    Raises:
        UserError: no such place can be written to.
    """
    places = ["/tmp", "/var/tmp", "/dev/shm"]
    with contextlib.suppress(FileNotFoundError):  # there is none
        places.insert(0, tempfile.gettempdir())
    for place in places:
        if len(os.fsencode(place)) > LONGEST_FOLDER:
            continue
        remove_abandoned(Path(place))
        with contextlib.suppress(OSError):
            made = tempfile.TemporaryDirectory(prefix=PREFIX, dir=place, ignore_cleanup_errors=True)
            break
    else:
        raise UserError(
            f"no folder for temporary files: none of {', '.join(places)} can be written to and has "
            f"at most {LONGEST_FOLDER} characters; name one in TMPDIR"
        )
    with made as folder, marked(Path(folder)):
        yield Path(folder)


def _check_open_files() -> None:
    """Raises UserError if processes here may not open enough files: Ray would wait forever."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < FEWEST_FILES:  # -1: no limit
        raise UserError(
            f"ulimit -n: a process may open {most} files here, and Ray needs {FEWEST_FILES}"
        )


def _cores() -> int:
    """Cores that Ray detects, which respects a container's limit, and this process may use; at
    least 1."""
    from ray._private.utils import get_num_cpus

    logging.getLogger("ray").setLevel(logging.ERROR)  # as ray.init does; it warns of half a core
    cores = int(get_num_cpus(override_docker_cpu_warning=True))
    if hasattr(os, "sched_getaffinity"):  # only on some systems
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores)


def _silently(*args: object, **kwargs: object) -> None:
    pass


def _logical_cores(workers: int | None, cores_per_worker: int) -> int:
    """Number of cores that Ray hands out.

    A user may ask for more workers than there are cores, but not for cores that do not exist.
    """
    cores = _cores()
    if workers is None or (cores_per_worker > 1 and workers * cores_per_worker > cores):
        return cores
    return workers * cores_per_worker
