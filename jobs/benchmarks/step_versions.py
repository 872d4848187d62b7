"""A training step before and after a change of the code, and in float32 and bf16, in turns.

Each version is a process of its own, on one thread, that imports `stn_cluster` from its checkout,
has the same weights and images, and takes a step whenever it is told to. Seconds are of the
processor: waiting for other processes is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parents[2]
WARMUP = 3  # steps that are not timed
FILTERS = (32, [32, 64], 64)
CELLS = [
    {"models": [model], "transforms": [transform], "distortions": [distortion]}
    for model, transform in (("ST-CNN", "affine"), ("CNN", "none"))
    for distortion in ("R", "RTS")
]


@dataclass(frozen=True)
class Version:
    """A checkout of the code, and the precision of its convolutions."""

    name: str
    checkout: Path
    precision: str = "float32"


def compare_versions(
    config: dict[str, Any],
    against: Path | None,
    repeats: int,
    *,
    filters: Sequence[Any] = FILTERS,
    cells: Sequence[dict[str, list[str]]] = CELLS,
) -> list[dict[str, Any]]:
    """Seconds of a step of each version, and its memory, for four cells in each width.

    Args:
        config: data set and recipe.
        against: a checkout from before the change; None: float32 and bf16 alone are compared.
        repeats: steps of each version, in turns.
        filters: widths of the network, as in a recipe.
        cells: models, transforms and distortions, one of each.
    """
    versions = [Version("now", HERE), Version("bf16", HERE, "bf16")]
    if against is not None:
        versions.insert(0, Version("before", against.resolve()))
    rows = []
    for width in filters:
        for axes in cells:
            recipe = config["recipe"] | {"filters": width}
            found = _in_turns(config | axes | {"recipe": recipe}, versions, repeats)
            if found:
                cell = " ".join(part for [part] in axes.values())
                rows.append({"cell": cell, "filters": width, "versions": found})
    return rows


def ratio(row: dict[str, Any], one: str, other: str) -> float | None:
    """Ratio of the step times of two versions: the median over turns."""
    a, b = (row["versions"].get(name, {}).get("seconds") for name in (one, other))
    return median(x / y for x, y in zip(a, b, strict=True)) if a and b else None


def same_losses(row: dict[str, Any]) -> bool | None:
    """Whether the change left every bit of every step's loss as it was."""
    before, now = (row["versions"].get(name, {}).get("losses") for name in ("before", "now"))
    return before == now if before and now else None


def _in_turns(
    config: dict[str, Any], versions: Sequence[Version], repeats: int
) -> dict[str, dict[str, Any]]:
    """Figures by version; versions that do not know the config are left out."""
    with ExitStack() as stack:
        running = {
            version.name: stack.enter_context(_process(config, version)) for version in versions
        }
        ready = {name: one for name, one in running.items() if one.stdout.readline()}
        steps: dict[str, list[Any]] = {name: [] for name in ready}
        for _ in range(repeats):
            for name, process in ready.items():
                steps[name].append(_ask(process, "step"))
        return {
            name: {
                "seconds": [seconds for seconds, _ in steps[name]],
                "losses": [loss for _, loss in steps[name]],
                "peak_mib": _ask(process, "peak"),
            }
            for name, process in ready.items()
        }


@contextmanager
def _process(config: dict[str, Any], version: Version) -> Iterator[Any]:
    recipe = config["recipe"]
    if version.precision != "float32":
        recipe = recipe | {"precision": version.precision}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(config | {"recipe": recipe})],
        env=os.environ | {"PYTHONPATH": str(version.checkout), "OMP_NUM_THREADS": "1"},
        cwd=version.checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        yield process
        process.stdin.close()


def _ask(process: Any, question: str) -> Any:
    process.stdin.write(f"{question}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def _answer(config: dict[str, Any]) -> None:
    """Process of a version: reports when it is ready, then executes commands."""
    import re
    import time

    import torch
    import torch.nn.functional as F

    from stn_cluster.config_file import parse_config
    from stn_cluster.registry import resolve
    from stn_cluster.training import cell_training  # names that all versions have

    torch.set_num_threads(1)
    torch.manual_seed(0)
    # A worker has loaded a data set: after such a piece, glibc keeps what a step frees.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    [cell] = resolve(parse_config(config))
    recipe = cell_training.Recipe.model_validate(cell.settings)
    model = cell_training.build_model(cell, recipe, 10)
    images = torch.rand(recipe.batch_size, 1, cell.canvas, cell.canvas)
    labels = torch.randint(10, (recipe.batch_size,))

    def step() -> tuple[float, str]:
        started = time.process_time()
        model.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 1e-3 * parameter.grad
        return time.process_time() - started, loss.item().hex()

    def peak() -> float:  # of this process alone: `getrusage` knows of its parent's, too
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) / 1024 if found else float("nan")

    for _ in range(WARMUP):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(step() if line.strip() == "step" else peak()), flush=True)


if __name__ == "__main__":
    _answer(json.loads(sys.argv[1]))
