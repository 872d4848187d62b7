"""The files in docker/, as far as they can be checked without a container engine: what they say of
commands, options, ports, paths and variables holds for the code, for Ray and for each other."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.scripts.scripts
import typer
import yaml

from stn_cluster import __version__
from stn_cluster.cli import app
from stn_cluster.client.schemas import PORT
from stn_cluster.server.http_server import DRAIN_SECONDS
from stn_cluster.server.serve import STOP_SECONDS

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
README = (DOCKER / "README.md").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
MANIFESTS = list(yaml.safe_load_all((DOCKER / "kuberay.yaml").read_text()))
RAY_CLUSTER = next(m for m in MANIFESTS if m["kind"] == "RayCluster")["spec"]
HEAD_GROUP = RAY_CLUSTER["headGroupSpec"]
HEAD_POD = HEAD_GROUP["template"]["spec"]
HEAD = HEAD_POD["containers"][0]
WORKER_GROUPS = RAY_CLUSTER["workerGroupSpecs"]
PODS = [HEAD_POD, *(group["template"]["spec"] for group in WORKER_GROUPS)]

HTTP_PORT = PORT
RAY_PORT = 6379
SECRETS = ("STN_CLUSTER_TOKEN", "RAY_AUTH_TOKEN")
SECONDS_TO_STOP = STOP_SECONDS + DRAIN_SECONDS  # that `serve` may take after SIGTERM
EXTRAS = ("cluster", "ray-jobs")

# --- the commands ---


def substituted(line: str) -> str:
    """With the defaults of a shell's variables in place of them."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", line)


def command_lines() -> Iterator[tuple[str, str]]:
    """All commands of the containers, with the files that contain them."""
    for name, service in SERVICES.items():
        command = service["command"]
        lines = command[1:] if command[0] == "head.sh" else [" ".join(command)]
        for line in lines:
            yield f"compose:{name}", substituted(line)
    for line in HEAD["args"]:
        yield "kuberay:head", line
    for line in re.findall(r"^stn-cluster .*$", README, re.MULTILINE):
        yield "README", line


def lines_of(command: str) -> list[Any]:
    found = [(where, line) for where, line in command_lines() if line.startswith(command + " ")]
    assert found
    return [pytest.param(line, id=f"{where} {line[:40]}") for where, line in found]


def options_of(name: str) -> set[str]:
    """The options of one of our commands."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("line", lines_of("stn-cluster"))
def test_our_commands_have_these_options(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert given <= options_of(name)


@pytest.mark.parametrize("line", lines_of("ray start"))
def test_ray_start_takes_these_options(line: str) -> None:
    start = ray.scripts.scripts.start
    given = start.make_context("start", shlex.split(line)[2:]).params  # raises for a wrong one
    assert given["block"], "the container would end at once"
    assert given["head"] == (given["address"] is None)


def test_the_operator_passes_ray_options_that_there_are() -> None:
    options = {o for parameter in ray.scripts.scripts.start.params for o in parameter.opts}
    for group in (HEAD_GROUP, *WORKER_GROUPS):
        assert {f"--{name}" for name in group["rayStartParams"]} <= options
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def serve_lines() -> list[dict[str, str]]:
    lines = [line for where, line in command_lines() if " serve " in line and where != "README"]
    assert len(lines) == 2
    return [dict(re.findall(r"--([\w-]+)=(\S+)", line)) for line in lines]


def test_compose_and_kubernetes_serve_alike() -> None:
    compose, kubernetes = serve_lines()
    assert compose == kubernetes


# --- ports ---


def test_one_http_port_everywhere() -> None:
    assert all(int(serve["port"]) == HTTP_PORT for serve in serve_lines())
    service = next(m for m in MANIFESTS if m["kind"] == "Service")["spec"]
    assert [port["port"] for port in service["ports"]] == [HTTP_PORT]
    named = {port["name"]: port["containerPort"] for port in HEAD["ports"]}
    assert named["http"] == HTTP_PORT
    assert service["ports"][0]["targetPort"] == "http"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert HEAD[probe]["httpGet"]["port"] == "http"
    assert f"http://127.0.0.1:{HTTP_PORT}/v1/health" in DOCKERFILE
    assert f"EXPOSE {HTTP_PORT}\n" in DOCKERFILE


def test_nothing_but_http_is_published_and_that_on_loopback() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published.pop("head") == [f"127.0.0.1:{HTTP_PORT}:{HTTP_PORT}"]
    assert not any(published.values())
    assert not any({"network_mode", "privileged"} & service.keys() for service in SERVICES.values())
    assert not any(pod.get("hostNetwork") for pod in PODS)
    assert not any("type" in m["spec"] for m in MANIFESTS if m["kind"] == "Service")  # ClusterIP


def test_workers_look_for_ray_where_the_head_has_it() -> None:
    assert f"--port={RAY_PORT} " in SERVICES["head"]["command"][1]
    assert f"127.0.0.1:{RAY_PORT}" in (DOCKER / "head.sh").read_text()
    for name in ("worker", "gpu-worker"):
        assert f"--address=head:{RAY_PORT}" in SERVICES[name]["command"]
    assert {"name": "gcs-server", "containerPort": RAY_PORT} in HEAD["ports"]


def test_the_probes_are_those_that_need_no_token() -> None:
    paths = {kind: HEAD[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
    assert paths == {"liveness": "/v1/health", "readiness": "/v1/ready"}


# --- secrets and variables ---


def containers() -> Iterator[dict[str, Any]]:
    for pod in PODS:
        yield from pod["containers"]


def test_tokens_come_from_the_environment_and_have_no_default() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(..)", text)
        assert set(uses) == {":?"}
    environments = [container["env"] for container in containers()]
    for environment in (*environments, RAY_CLUSTER["autoscalerOptions"]["env"]):
        for variable in environment:
            if variable["name"] in SECRETS:
                assert "value" not in variable
                assert variable["valueFrom"]["secretKeyRef"]["name"] == "stn-cluster"
    assert not any(m["kind"] == "Secret" for m in MANIFESTS)  # it would be in git
    assert "TOKEN" not in DOCKERFILE


def test_the_secret_that_the_manual_makes_has_the_keys_that_are_read() -> None:
    read = {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for container in containers()
        for variable in container["env"]
        if "valueFrom" in variable
    }
    made = re.findall(r"--from-literal=(\w+)=", README)
    assert set(made) == read


def test_all_of_ray_asks_for_its_token_and_only_the_service_has_its_own() -> None:
    for name, service in SERVICES.items():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert "RAY_AUTH_TOKEN" in service["environment"]
        assert ("STN_CLUSTER_TOKEN" in service["environment"]) == (name == "head")
    environments = [container["env"] for container in containers()]
    for environment in (*environments, RAY_CLUSTER["autoscalerOptions"]["env"]):
        names = [variable["name"] for variable in environment]
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= set(names)
        assert ("STN_CLUSTER_TOKEN" in names) == (environment is HEAD["env"])


def variables() -> set[str]:
    """All environment variables that the files set for a container."""
    names = {name for service in SERVICES.values() for name in service["environment"]}
    names |= {variable["name"] for container in containers() for variable in container["env"]}
    names |= {variable["name"] for variable in RAY_CLUSTER["autoscalerOptions"]["env"]}
    for line in re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE):
        names |= {word.partition("=")[0] for word in line.split()}
    names |= set(re.findall(r"\b(RAY_\w+)=", (DOCKER / "head.sh").read_text()))
    return names


def test_each_variable_is_one_that_somebody_reads() -> None:
    def sources(package: str) -> str:
        folder = Path(package)
        parts = (folder / "_private", folder / "_common") if folder.name == "ray" else (folder,)
        return "".join(file.read_text() for part in parts for file in part.rglob("*.py"))

    readers = {
        "STN_": sources(str(ROOT / "stn_cluster")),
        "RAY_": sources(str(Path(ray.__file__).parent)),
        "PIP_": "PIP_NO_CACHE_DIR PIP_DISABLE_PIP_VERSION_CHECK PIP_ROOT_USER_ACTION",
        "PYTHON": "PYTHONUNBUFFERED",
    }
    for name in variables():
        reader = next(text for prefix, text in readers.items() if name.startswith(prefix))
        assert re.search(rf"\b{name}\b", reader), name


def test_the_manual_names_each_variable_of_the_compose_file() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert f"`{name}`" in README


# --- volumes ---


def test_the_service_writes_on_volumes_only() -> None:
    compose, _ = serve_lines()
    paths = {compose["state"], compose["store"], compose["data-root"]}
    mounted = {volume.split(":")[1] for volume in SERVICES["head"]["volumes"]}
    assert paths == mounted
    assert paths == {mount["mountPath"] for mount in HEAD["volumeMounts"]}
    folders = re.search(r"install --directory --owner=stn --group=stn (.*)$", DOCKERFILE, re.M)
    assert folders is not None
    assert paths == set(folders[1].split()), "a fresh volume would belong to root"


def test_workers_have_store_and_data_where_the_head_has_them_but_not_the_state() -> None:
    head = set(SERVICES["head"]["volumes"])
    for name in ("worker", "gpu-worker"):
        assert head - set(SERVICES[name]["volumes"]) == {"state:/state"}
    for pod in PODS[1:]:
        mounts = pod["containers"][0]["volumeMounts"]
        assert [m for m in HEAD["volumeMounts"] if m["mountPath"] != "/state"] == mounts


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == COMPOSE["volumes"].keys()
    claims = {m["metadata"]["name"]: m["spec"] for m in MANIFESTS if "Claim" in m["kind"]}
    claimed = set()
    for pod in PODS:
        volumes = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]}
        assert {m["name"] for c in pod["containers"] for m in c["volumeMounts"]} == volumes.keys()
        claimed |= set(volumes.values())
    assert claimed == claims.keys()
    assert claims["stn-cluster-state"]["accessModes"] == ["ReadWriteOnce"]
    assert claims["stn-cluster-shared"]["accessModes"] == ["ReadWriteMany"]


# --- Kubernetes ---


def test_the_operator_finds_what_it_asks_for() -> None:
    assert HEAD["name"] == "ray-head"
    version = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert version is not None
    assert RAY_CLUSTER["rayVersion"] == version[1]
    # head.sh starts Ray by the operator's own command, which it hands over to whoever says so.
    annotations = HEAD_GROUP["template"]["metadata"]["annotations"]
    assert annotations == {"ray.io/overwrite-container-cmd": "true"}
    assert HEAD["args"][0] == "$(KUBERAY_GEN_RAY_START_CMD)"
    assert RAY_CLUSTER["enableInTreeAutoscaling"] is True
    for group in WORKER_GROUPS:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert "command" not in group["template"]["spec"]["containers"][0]  # it's the operator's


def test_the_service_selects_the_head() -> None:
    cluster = next(m for m in MANIFESTS if m["kind"] == "RayCluster")["metadata"]["name"]
    service = next(m for m in MANIFESTS if m["kind"] == "Service")["spec"]
    assert service["selector"] == {"ray.io/cluster": cluster, "ray.io/node-type": "head"}


def test_containers_are_confined() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    made = re.search(r"useradd --uid (\d+) ", DOCKERFILE)
    assert user is not None
    assert made is not None
    assert user[1] == user[2] == made[1] != "0"
    for pod in PODS:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert {context[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user[1])}
    confined = [container["securityContext"] for container in containers()]
    for context in (*confined, RAY_CLUSTER["autoscalerOptions"]["securityContext"]):
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_head_has_time_to_save_what_runs() -> None:
    assert HEAD_POD["terminationGracePeriodSeconds"] >= SECONDS_TO_STOP + 20
    assert int(SERVICES["head"]["stop_grace_period"].rstrip("s")) >= SECONDS_TO_STOP + 20


# --- the image ---


def test_all_run_the_one_image() -> None:
    assert {container["image"] for container in containers()} == {"stn-cluster:latest"}
    assert {service["image"] for service in SERVICES.values()} == {"stn-cluster"}
    for service in SERVICES.values():
        build = service["build"]
        context = DOCKER / build["context"]
        assert context.resolve() == ROOT
        assert (context / build["dockerfile"]).samefile(DOCKER / "Dockerfile")
        arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
        assert build["args"].keys() <= arguments


def copied() -> list[str]:
    """Files that the Dockerfile copies from the project."""
    found = re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert found
    return [source for line in found for source in line.split()]


def ignored(path: str) -> bool:
    """Whether Docker leaves a path out: the last pattern that fits it or a folder of it decides."""
    out = False
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            anywhere = "**/" in line
            parts = Path(path).parts
            paths = parts if anywhere else ["/".join(parts[: n + 1]) for n in range(len(parts))]
            if any(fnmatch.fnmatchcase(one, pattern) for one in paths):
                out = not line.startswith("!")
    return out


def test_what_is_copied_is_there_and_is_sent() -> None:
    for source in copied():
        assert (ROOT / source).exists()
        assert not ignored(source)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "data/MNIST/raw/train-images-idx3-ubyte",
        "results/mnist/cells/1.parquet",
        ".venv/bin/python",
        "docker/.env",
        "stn_cluster/__pycache__/cli.pyc",
        "stn_cluster/.env",
    ],
)
def test_data_secrets_and_leftovers_are_not_sent(path: str) -> None:
    assert ignored(path)


def test_what_git_ignores_is_not_sent() -> None:
    for line in (ROOT / ".gitignore").read_text().splitlines():
        if line and not line.startswith(("#", "!")):
            assert ignored(line.strip("/").replace("*", "some"))


def test_git_ignores_the_tokens() -> None:
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_image_has_all_that_the_cluster_needs(tmp_path: Path) -> None:
    script = re.search(r"python -c '(.*?)'", DOCKERFILE.replace("\\\n", ""), re.DOTALL)
    assert script is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # The script reads the extras as they stand: one that names another would not be found by pip.
    assert not any(one.startswith(project["name"]) for name in EXTRAS for one in extras[name])
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["a>=1"]\n'
        '[project.optional-dependencies]\ncluster = ["b[c]"]\nray-jobs = ["d"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", script[1]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["a>=1", "b[c]", "d"]


def test_the_image_is_of_the_python_that_the_project_takes() -> None:
    version = re.search(r"^ARG PYTHON=3\.(\d+)$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version is not None
    assert int(version[1]) >= int(project["requires-python"].removeprefix(">=3."))


def test_no_registry_is_named() -> None:
    hosts = set()
    for name in ("Dockerfile", "compose.yaml", "kuberay.yaml", "head.sh"):
        hosts |= set(re.findall(r"https?://([\w.-]+)", (DOCKER / name).read_text()))
    assert hosts == {"127.0.0.1"}
    assert re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}-slim"]
    assert __version__ not in DOCKERFILE  # nothing here is to be changed for a new version
