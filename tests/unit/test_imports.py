"""Imports: nothing heavy before it is needed, and only downward."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.records import make_record

import stn_cluster
from stn_cluster.store import Store

PACKAGE = Path(stn_cluster.__file__).parent
HEAVY = {
    "torch",
    "torchvision",
    "ray",
    "sklearn",
    "fastapi",
    "uvicorn",
    "starlette",
    "scipy",
    "matplotlib",
}
# Modules of the cluster that do their work without Ray and without torch.
PLAIN = (
    *("attempt_log", "checkpoint_recorder", "compactor", "housekeeping", "leases", "make_jobs"),
    "placement",
    *(
        "private_ray",
        "protocol",
        "ray_errors",
        "ray_probe",
        "result_writer",
        "rows",
        "run_local",
        "settings",
    ),
    *("abandoned_runs", "known_jobs", "pruned_queue", "pruning"),
    *("supervision", "throughput", "make_evaluations", "run_evaluations"),
)

QUEUE = (
    *("attempts", "claim", "database", "finish", "jobs", "known_results", "notifications"),
    *("old_jobs", "queries", "submit"),
)

# --- what running a command loads ---


def imported(*arguments: str, cwd: Path) -> set[str]:
    """The modules that a fresh Python imports, by their dotted names."""
    command = [sys.executable, "-X", "importtime", *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # several wait for each other on few cores
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=one_thread, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))
    assert "stn_cluster.errors" in found
    return found


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & HEAVY


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store", create=True).commit([make_record()])
    return tmp_path / "store"


def test_importing_the_package_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    modules = imported("-c", "import stn_cluster", cwd=tmp_path)
    assert heavy(modules) == set()
    assert not {"pandas", "pyarrow"} & modules


COMMANDS = (
    *("run", "serve", "submit", "jobs", "status", "watch", "cancel", "retry", "logs"),
    *(
        "rerun",
        "results",
        "table",
        "compare",
        "plan",
        "figure",
        "report",
        "evaluate",
        "transfer",
        "robustness",
        "verify",
        "compact",
        "prune",
        "view",
        "export",
        "components",
        "schema",
    ),
)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_loads_neither_torch_nor_ray(tmp_path: Path, command: list[str]) -> None:
    modules = imported("-m", "stn_cluster.cli", *command, "--help", cwd=tmp_path)
    assert heavy(modules) == set()
    assert not {"pandas", "pyarrow"} & modules


@pytest.mark.parametrize(
    "command",
    [
        ["results"],
        ["results", "--format", "json", "--model", "CNN"],
        ["table"],
        ["table", "--format", "html"],
        ["transfer"],
        ["robustness", "--format", "csv"],
    ],
)
def test_looking_at_results_loads_neither_torch_nor_ray(
    small_store: Path, command: list[str]
) -> None:
    arguments = ["-m", "stn_cluster.cli", *command, "--store", str(small_store)]
    assert heavy(imported(*arguments, cwd=small_store.parent)) == set()


@pytest.mark.parametrize(
    "code",
    [
        "from stn_cluster import *; load_results(store); comparison_table(store)",
        "from stn_cluster.registry import resolve\n"
        "from stn_cluster.config_file import parse_config\n"
        "resolve(parse_config({'recipe': 'paper', 'dataset': 'mnist'}))",
        "import " + ", ".join(f"stn_cluster.queue.{module}" for module in QUEUE),
        "import " + ", ".join(f"stn_cluster.cluster.{module}" for module in PLAIN),
        "import stn_cluster.display.progress_view, stn_cluster.cluster.run_local",
        "from stn_cluster import Client; Client('http://127.0.0.1:1')",
    ],
    ids=[
        "results",
        "checking a config",
        "the queue",
        "the coordinator's parts",
        "runs and views",
        "the client",
    ],
)
def test_what_needs_no_training_loads_neither_torch_nor_ray(small_store: Path, code: str) -> None:
    code = f"store = {str(small_store)!r}\n{code}"
    assert heavy(imported("-c", code, cwd=small_store.parent)) == set()


def test_the_cluster_is_there_without_torch_until_a_worker_trains(tmp_path: Path) -> None:
    code = "import stn_cluster.cluster.connect"  # and with it coordinator, client and worker
    assert heavy(imported("-c", code, cwd=tmp_path)) == {"ray"}


def test_packs_are_trained_without_ray(tmp_path: Path) -> None:
    code = "import stn_cluster.cluster.pack_runner"
    assert heavy(imported("-c", code, cwd=tmp_path)) == {"torch"}


def test_training_is_there_without_ray(tmp_path: Path) -> None:
    code = "import stn_cluster.training.trainer, stn_cluster.stn, stn_cluster.data.digits"
    assert heavy(imported("-c", code, cwd=tmp_path)) == {"torch"}


def test_training_imports_neither_scikit_learn_nor_torchvision_nor_pytorchs_compiler(
    tmp_path: Path,
) -> None:
    """Each takes a second or more, in every worker."""
    code = """
from pathlib import Path
from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.registry import resolve
from stn_cluster.training.trainer import PackTrainer
import torch
fields = {"models": ["FCN", "ST-CNN"], "distortions": ["P"]}
config = parse_config({"recipe": {"name": "smoke", "iterations": 2}, **fields})
for progress in PackTrainer(resolve(config), DataCache(None, torch.device("cpu"))).run():
    assert all(outcome.error is None for outcome in progress.ended)
"""
    modules = imported("-c", code, cwd=tmp_path)
    assert "torch" in modules
    assert not modules & {"sklearn", "torchvision", "torch._dynamo", "sympy"}


# --- which module may import which ---

# Each part of the package, lowest first, and the parts that it imports beside its own.
IMPORTED: dict[str, set[str]] = {
    "plain_text": set(),
    "errors": {"plain_text"},
    "notebook_html": {"plain_text"},
    "failpoints": set(),
    "threads": set(),
    "thread_binding": set(),
    "dataset_info": set(),
    "networks": set(),
    "evaluate_config": set(),
    "grid": {"dataset_info", "evaluate_config", "networks", "notebook_html"},
    "evaluations": {"grid"},
    "paths": {"errors"},
    "private_files": {"errors"},
    "process_settings": set(),
    "recipes": {"errors", "grid"},
    "yaml_core": set(),
    "config_file": {"errors", "evaluate_config", "grid", "networks", "paths", "yaml_core"},
    "registry": {
        "dataset_info",
        "errors",
        "grid",
        "networks",
        "process_settings",
        "thread_binding",
    },
    "config_schema": {"grid", "networks", "recipes", "registry"},
    "stn_cluster": {"errors", "registry"},  # __init__.py, but for what it exports lazily
    "provenance": {"stn_cluster"},
    "stn": set(),
    "data": {"dataset_info", "errors", "grid", "process_settings", "registry", "stn", "yaml_core"},
    "training": {
        "data",
        "dataset_info",
        "errors",
        "evaluations",
        "grid",
        "recipes",
        "registry",
        "stn",
    },
    "store": {
        "dataset_info",
        "errors",
        "evaluate_config",
        "failpoints",
        "grid",
        "paths",
        "plain_text",
        "private_files",
        "registry",
    },
    "report": {
        "data",
        "dataset_info",
        "errors",
        "evaluate_config",
        "evaluations",
        "grid",
        "paths",
        "plain_text",
        "registry",
        "store",
    },
    "planning": {
        "data",
        "errors",
        "evaluations",
        "grid",
        "paths",
        "plain_text",
        "report",
        "store",
        "training",
    },
    "queue": {
        "errors",
        "evaluations",
        "failpoints",
        "grid",
        "notebook_html",
        "plain_text",
        "threads",
    },
    "display": {"plain_text", "queue"},
    "inference": {
        "paths",
        "data",
        "dataset_info",
        "errors",
        "grid",
        "queue",
        "recipes",
        "registry",
        "stn",
        "stn_cluster",
        "store",
        "training",
    },
    "figures": {
        "data",
        "errors",
        "evaluate_config",
        "grid",
        "inference",
        "registry",
        "report",
        "store",
    },
    "document": {
        "errors",
        "evaluate_config",
        "figures",
        "grid",
        "paths",
        "plain_text",
        "report",
        "stn_cluster",
        "store",
    },
    "exploring": {"errors", "grid", "plain_text", "queue", "report", "store"},
    "drawing": {
        "config_file",
        "data",
        "dataset_info",
        "document",
        "errors",
        "exploring",
        "figures",
        "grid",
        "inference",
        "planning",
        "registry",
        "stn",
        "store",
    },
    "evaluation": {
        "data",
        "dataset_info",
        "errors",
        "evaluate_config",
        "evaluations",
        "grid",
        "inference",
        "registry",
        "stn",
        "training",
    },
    "cluster": {
        "config_file",
        "data",
        "dataset_info",
        "display",
        "errors",
        "evaluate_config",
        "evaluation",
        "evaluations",
        "failpoints",
        "grid",
        "inference",
        "paths",
        "plain_text",
        "private_files",
        "provenance",
        "queue",
        "registry",
        "stn_cluster",
        "store",
        "thread_binding",
        "threads",
        "training",
    },
    "client": {
        "config_file",
        "errors",
        "evaluate_config",
        "grid",
        "paths",
        "plain_text",
        "private_files",
        "queue",
        "stn_cluster",
        "store",
    },
    "server": {
        "client",
        "cluster",
        "document",
        "drawing",
        "errors",
        "evaluate_config",
        "exploring",
        "grid",
        "plain_text",
        "private_files",
        "queue",
        "registry",
        "report",
        "stn_cluster",
        "store",
        "threads",
    },
    "cli": {
        "client",
        "cluster",
        "dataset_info",
        "config_file",
        "config_schema",
        "display",
        "document",
        "errors",
        "figures",
        "grid",
        "inference",
        "paths",
        "planning",
        "plain_text",
        "queue",
        "registry",
        "report",
        "server",
        "stn_cluster",
        "store",
    },
}
# Third-party modules, and the only files that may import them.
ONLY_IN = {
    "PIL": ("data/pictures.py", "document/sheets.py"),
    "jinja2": ("document/formats.py",),
    "torchvision": ("data/torchvision_sets.py", "stn/torchvision_models.py"),
    "ray": ("cluster/",),
    "torch": (
        "process_settings.py",
        "stn/",
        "data/",
        "evaluation/",
        "training/",
        "inference/",
        "cluster/pack_runner.py",
        "planning/calibration.py",
        "drawing/",
    ),
    "pyarrow": ("store/",),
    "typer": ("cli/",),
    "fastapi": ("server/",),
    "uvicorn": ("server/http_server.py", "server/timed_protocol.py"),
    "prometheus_client": ("server/metrics_routes.py",),
    "httpx": ("client/", "data/mnist_download.py", "server/notify_url.py"),
    "scipy": ("report/statistics/",),
    "matplotlib": ("figures/",),
}


@dataclass(frozen=True)
class Import:
    """One import of a module by a file."""

    file: str  # relative to the package
    line: int
    module: str  # dotted
    lazy: bool  # inside a function

    @property
    def importer(self) -> str:
        return _part(self.file.removesuffix(".py").replace("/", "."))

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def _part(dotted: str) -> str:
    """Part of a module: 'cluster.client' -> 'cluster'; the package's __init__ is 'stn_cluster'."""
    first = dotted.partition(".")[0]
    return "stn_cluster" if first in ("", "__init__") else first


def imports_of(path: Path) -> Iterator[Import]:
    """All imports of a file, but those that only type checkers see."""
    file = path.relative_to(PACKAGE).as_posix()

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name, lazy)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            assert node.module
            for name in node.names:  # `from stn_cluster import view` imports a module too
                inner = node.module == "stn_cluster" and name.name in IMPORTED
                module = f"{node.module}.{name.name}" if inner else node.module
                yield Import(file, node.lineno, module, lazy)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


IMPORTS = [found for path in sorted(PACKAGE.rglob("*.py")) for found in imports_of(path)]


def test_every_part_imports_just_what_the_table_says() -> None:
    files = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    found: dict[str, set[str]] = {_part(file.as_posix().replace("/", ".")): set() for file in files}
    for one in IMPORTS:
        top, _, rest = one.module.partition(".")
        if top == "stn_cluster" and _part(rest) != one.importer:
            found[one.importer].add(_part(rest))
    assert found == IMPORTED


def test_the_table_runs_downward_only() -> None:
    floors = list(IMPORTED)
    for part, parts in IMPORTED.items():
        assert all(floors.index(below) < floors.index(part) for below in parts), part


def test_views_know_of_a_job_only_its_status() -> None:
    seen = {found.module for found in IMPORTS if found.file == "display/progress_view.py"}
    ours = {module for module in seen if module.startswith("stn_cluster")}
    assert ours == {"stn_cluster.plain_text", "stn_cluster.queue.jobs"}


def test_no_two_modules_have_one_name() -> None:
    names = [path.stem for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("module", sorted(ONLY_IN))
def test_a_heavy_module_is_imported_only_where_it_belongs(module: str) -> None:
    users = [found for found in IMPORTS if found.module.partition(".")[0] == module]
    assert users
    assert [str(found) for found in users if not found.file.startswith(ONLY_IN[module])] == []


def test_ray_is_imported_by_both_ends_of_its_calls_and_by_all_else_when_something_is_run() -> None:
    eager = {found.file for found in IMPORTS if found.module.startswith("ray") and not found.lazy}
    ends = ("connect", "coordinator", "coordinator_client", "worker", "worker_pool")
    assert eager == {f"cluster/{name}.py" for name in ends}
