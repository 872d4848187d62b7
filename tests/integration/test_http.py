"""The HTTP interface: what it answers, in front of a real coordinator."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from fastapi.testclient import TestClient
from httpx_sse import ServerSentEvent, connect_sse
from support.http_service import QUICK, browser, ended, http_service, run

from stn_cluster import __version__, load_results
from stn_cluster.server.backend import Backend


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with http_service(tmp_path_factory.mktemp("http"), plugins=("breaking_plugin",)) as service:
        yield service


@pytest.fixture(scope="module")
def http(service: Backend) -> Iterator[TestClient]:
    with browser(service) as client:
        yield client


@pytest.fixture(scope="module")
def done(http: TestClient) -> str:
    """A job of three cells that has ended."""
    run(http, "done", models=["FCN", "CNN"], distortions=["R"], seeds=[0])
    run(http, "done-2", models=["CNN"], distortions=["R"], seeds=[1])
    return "done"


def events(http: TestClient, job_id: str, since: str | None = None) -> list[ServerSentEvent]:
    headers = {"Last-Event-ID": since} if since else {}
    with connect_sse(http, "GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        return list(stream.iter_sse())


# --- evaluations ---


def test_evaluations_are_a_job_and_rows_and_tables(http: TestClient, done: str) -> None:
    wanted = {"of": "store", "on": ["clean", "E"], "severity": [1, 2], "filters": {"model": "CNN"}}
    config = {"name": "evaluate", "evaluate": wanted}
    for code in (201, 200):
        answer = http.put("/v1/jobs/evaluation", json={"config": config})
        assert answer.status_code == code, answer.text
    status = ended(http, "evaluation")
    assert (status["state"], status["evaluations"]) == ("succeeded", 6)
    cells = http.get("/v1/jobs/evaluation/cells").json()["cells"]
    assert [cell["cell"]["tested_on"] for cell in cells] == ["clean", "E", "E@2"] * 2
    query = {"model": "CNN", "on": "E", "severity": 2, "seed": 1}
    [row] = http.get("/v1/evaluations", params=query).json()
    assert (row["label"], row["trained_on"]) == ("CNN/none/R/seed1", "R")
    assert row["n_wrong"] > 0
    read = pd.read_parquet(
        io.BytesIO(http.get("/v1/evaluations", params={"format": "parquet"}).content)
    )
    assert len(read) == 6
    assert "trained on  clean" in http.get("/v1/transfer").text
    assert "tested on E, by severity" in http.get("/v1/robustness", params={"on": "E"}).text
    assert "trained on  clean" in http.get("/v1/jobs/evaluation/table").text
    log = http.get("/v1/attempts", params={"cell": "CNN/none/R/seed1 on E@2"}).json()
    assert log[0]["ending"] == "succeeded"


def test_a_jobs_cells_are_evaluated_once_they_are_trained(http: TestClient, done: str) -> None:
    status = run(http, "with", seeds=[55], evaluate={"on": ["R", "E"]})
    assert (status["counts"], status["evaluations"]) == ({"succeeded": 3}, 2)
    rows = http.get("/v1/evaluations", params={"seed": 55}).json()
    assert [row["on"] for row in rows] == ["R", "E"]
    assert "trained on" not in http.get("/v1/jobs/with/table").text
    of_job = http.get("/v1/jobs/with/transfer", params={"format": "csv"}).text
    assert len(of_job.splitlines()) == 1 + 2
    assert "No evaluations" in http.get("/v1/jobs/done/transfer").text
    assert http.get("/v1/jobs/nope/transfer").status_code == 404


@pytest.mark.parametrize(
    ("evaluate", "field"),
    [
        ({"of": "store", "on": ["RST"]}, "config.evaluate.on"),
        ({"of": "store", "dataset": "../mnist"}, "config.evaluate.dataset"),
        ({"of": "store", "filters": {"model": "CNM"}}, "config"),
        ({"severity": [9]}, "config.evaluate.severity.0"),
    ],
)
def test_wrong_evaluations_are_refused_with_the_field(
    http: TestClient, done: str, evaluate: dict[str, Any], field: str
) -> None:
    config = {"evaluate": evaluate}
    answer = http.put("/v1/jobs/wrong", json={"config": config})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field


# --- jobs ---


def test_a_submission_is_idempotent_and_another_under_its_id_is_refused(http: TestClient) -> None:
    asked = {"config": {**QUICK, "seeds": [100]}, "priority": 3}
    first, second = (http.put("/v1/jobs/twice", json=asked) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["job_id"] == second.json()["job_id"] == "twice"
    assert (first.json()["priority"], sum(first.json()["counts"].values())) == (3, 1)
    other = http.put("/v1/jobs/twice", json={"config": {**QUICK, "seeds": [101]}})
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "conflict"
    assert [job["job_id"] for job in http.get("/v1/jobs").json()].count("twice") == 1


def test_a_submission_is_told_what_the_grid_leaves_out(http: TestClient) -> None:
    config = {**QUICK, "models": ["FCN", "ST-FCN"], "transforms": ["affine", "none"], "seeds": [9]}
    told = http.put("/v1/jobs/pairs", json={"config": config}).json()
    assert told["left_out"].startswith("not in the grid: FCN with affine (no transformer); ST-FCN")
    assert http.get("/v1/jobs/pairs").json()["left_out"] is None


def test_cells_come_in_pages_by_state_and_by_filters(http: TestClient) -> None:
    run(http, "pages", models=["FCN", "CNN", "Raises"], distortions=["E", "P"], seeds=[7])
    first = http.get("/v1/jobs/pages/cells", params={"limit": 4}).json()
    rest = http.get("/v1/jobs/pages/cells", params={"limit": 4, "offset": 4}).json()
    assert (first["next_offset"], rest["next_offset"]) == (4, None)
    cells = [*first["cells"], *rest["cells"]]
    assert [cell["cell"]["model"] for cell in cells] == ["FCN"] * 2 + ["CNN"] * 2 + ["Raises"] * 2

    def chosen(**query: Any) -> list[tuple[str, str]]:
        found = http.get("/v1/jobs/pages/cells", params=query).json()["cells"]
        return [(cell["cell"]["model"], cell["cell"]["distortion"]) for cell in found]

    assert chosen(state="failed") == [("Raises", "E"), ("Raises", "P")]
    assert chosen(model=["FCN", "Raises"], distortion="P") == [("FCN", "P"), ("Raises", "P")]
    assert chosen(seed=8) == []
    assert "broken on purpose" in cells[-1]["error"]


def test_a_cancelled_job_is_retried(http: TestClient) -> None:
    slow = {"config": {**QUICK, "models": ["Slow"], "seeds": [1], "recipe": "smoke"}}
    http.put("/v1/jobs/slow", json=slow)
    cancelled = http.post("/v1/jobs/slow/cancel", json={})
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert http.post("/v1/jobs/slow/retry", json={}).json() == {"waiting": 1}
    assert ended(http, "slow")["state"] == "succeeded"
    assert http.post("/v1/jobs/slow/retry", json={}).json() == {"waiting": 0}


def test_a_rerun_trains_what_the_filters_choose_and_keeps_the_history(
    http: TestClient, done: str
) -> None:
    asked = {"filters": {"model": ["CNN"], "distortion": ["R"], "seed": [0]}}
    first, second = (http.put("/v1/reruns/again", json=asked) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert sum(first.json()["counts"].values()) == 1
    assert ended(http, "again")["state"] == "succeeded"
    query = {"model": "CNN", "distortion": "R", "seed": 0}
    assert len(http.get("/v1/results", params=query).json()) == 1
    every = http.get("/v1/results", params={**query, "latest": False}).json()
    assert [row["job_id"] for row in every] == [done, "again"]


# --- the stream of events ---


def test_the_events_of_a_job_end_with_it_and_tell_of_all_its_cells(http: TestClient) -> None:
    http.put("/v1/jobs/seen", json={"config": {**QUICK, "seeds": [50, 51, 52]}})
    told = events(http, "seen")
    assert {event.event for event in told} == {"job"}
    looks = [json.loads(event.data) for event in told]
    assert len(looks[0]["cells"]) == 3
    cells = {cell["cell"]["key"]: cell["state"] for look in looks for cell in look["cells"]}
    assert set(cells.values()) == {"succeeded"}
    assert looks[-1]["state"] == "succeeded"


def test_whoever_lost_the_stream_is_told_only_what_is_new(http: TestClient, done: str) -> None:
    [event] = events(http, done)
    assert len(json.loads(event.data)["cells"]) == 2
    [again] = events(http, done, since=event.id)
    assert json.loads(again.data)["cells"] == []
    beyond = str(int(event.id) + 1_000_000)  # of a queue that is no longer there
    [anew] = events(http, done, since=beyond)
    assert len(json.loads(anew.data)["cells"]) == 2


# --- results ---


def test_results_are_the_stores_in_every_format(
    http: TestClient, done: str, service: Backend
) -> None:
    query = {"distortion": "R", "model": ["CNN", "FCN"]}
    wanted = load_results(service.store, **query).set_index("attempt")["test_error"].to_dict()
    read = {
        "json": lambda content: pd.DataFrame(json.loads(content)),
        "csv": lambda content: pd.read_csv(io.BytesIO(content)),
        "parquet": lambda content: pd.read_parquet(io.BytesIO(content)),
    }
    for form, reader in read.items():
        response = http.get("/v1/results", params={**query, "format": form})
        assert response.status_code == 200
        found = reader(response.content).set_index("attempt")["test_error"].to_dict()
        assert found == pytest.approx(wanted), form
    assert http.get("/v1/results", params={"seed": 12345}).json() == []


@pytest.mark.parametrize("form", ["text", "md", "csv", "latex", "html"])
def test_the_table_is_that_of_the_store_or_of_a_job(http: TestClient, done: str, form: str) -> None:
    whole = http.get("/v1/table", params={"format": form, "seed": 0, "distortion": "R"})
    assert whole.status_code == 200
    assert "FCN" in whole.text
    of_job = http.get("/v1/jobs/done-2/table", params={"format": form})
    assert "CNN" in of_job.text
    assert "FCN" not in of_job.text


def test_the_table_has_intervals_and_marks_if_asked(http: TestClient, done: str) -> None:
    query = {"interval": True, "seed": 0, "distortion": "R"}
    table = http.get("/v1/table", params=query)
    assert "one seed" in table.text
    assert "95% interval" in table.text
    assert "Holm's correction over" in table.text
    named = http.get("/v1/table", params={**query, "correction": "benjamini-hochberg"})
    assert "Benjamini" in named.text
    unknown = http.get("/v1/table", params={**query, "correction": "hulm"})
    assert unknown.status_code == 422
    assert "did you mean 'holm'?" in unknown.json()["error"]["message"]


def test_a_table_of_nothing_says_what_there_is(http: TestClient, done: str) -> None:
    response = http.get("/v1/table", params={"model": "VGG"})
    assert response.status_code == 422
    assert "no cell matches model=VGG; model here: CNN" in response.json()["error"]["message"]


def test_pictures_and_weights_of_the_servers_data_root_are_evaluated(
    service: Backend, http: TestClient
) -> None:
    assert service.data_root is not None
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 12, 12), np.uint8)
    labels = np.arange(40) % 3
    arrays = {"images": images, "labels": labels}
    parts = {
        f"{part}_{name}": array for part in ("train", "test") for name, array in arrays.items()
    }
    np.savez(service.data_root / "signs.npz", **parts)
    network = torchvision.models.resnet18(num_classes=3)
    torch.save(network.state_dict(), service.data_root / "mine.pt")
    asked = {"name": "torchvision:resnet18", "as": "mine", "weights": "mine.pt"}
    config = {"dataset": "signs", "models": [asked], "distortions": ["clean"]}
    assert run(http, "mine", **config)["state"] == "succeeded"
    [row] = http.get("/v1/results", params={"dataset": "signs"}).json()
    with torch.inference_mode():
        scores = network.eval()(torch.from_numpy(images) / 255)
    assert row["n_wrong"] == int((scores.argmax(1).numpy() != labels).sum())
    assert (row["recipe"], row["label"]) == ("none", "mine/none/clean/seed0")
    config["models"] = [asked | {"weights": "absent.pt"}]
    refused = http.put("/v1/jobs/absent", json={"config": {**QUICK, **config}})
    assert refused.status_code == 422
    assert "weights: absent.pt: no such file in the data root" in refused.text


def test_attempts_and_their_logs(http: TestClient, done: str) -> None:
    [attempt] = http.get("/v1/attempts", params={"cell": "FCN/none/R/seed0"}).json()
    assert (attempt["ending"], attempt["job_id"]) == ("succeeded", done)
    log = http.get(f"/v1/logs/{attempt['key']}/{attempt['attempt']}")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert "FCN/none/R/seed0 (digits, smoke) for job done" in log.text
    assert "trained and tested" in log.text


# --- the service ---


def test_health_readiness_and_version(http: TestClient) -> None:
    assert http.get("/v1/health").json() == http.get("/v1/ready").json() == "ok"
    response = http.get("/v1/service")
    assert response.json()["version"] == response.headers["stn-cluster-version"] == __version__


def test_prometheus_reads_the_metrics(http: TestClient, done: str) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    response = http.get("/v1/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert found["stn_cluster_cells", "succeeded"] >= 3
    assert found["stn_cluster_attempts_total", "succeeded"] >= 3
    assert found["stn_cluster_queue_wait_seconds_count",] >= 3
    assert found["stn_cluster_queue_wait_seconds_sum",] > 0
    assert found["stn_cluster_workers",] in (1, 2)
    assert found["stn_cluster_in_trouble",] == 0
    assert ("stn_cluster_images_per_second",) in found
    assert found["stn_cluster_jobs_total",] >= 2


# --- errors ---

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    # what, the config's fields, the field that is named, what is said of it
    ("an unknown field", {"modles": ["FCN"]}, "config.modles", "no such field"),
    ("an unknown model", {"models": ["FNC"]}, "config.models", "did you mean 'FCN'"),
    ("an unknown transform", {"transforms": ["afine"]}, "config.transforms", "'affine'"),
    ("an unknown distortion", {"distortions": ["Q"]}, "config.distortions", "unknown distortion"),
    ("an unknown data set", {"dataset": "cifar"}, "config.dataset", "unknown dataset"),
    ("an unknown recipe", {"recipe": "slow"}, "config.recipe", "unknown recipe 'slow'"),
    (
        "a recipe's field",
        {"recipe": {"name": "fast", "lr": 1}},
        "config.recipe.lr",
        "unknown field",
    ),
    (
        "a recipe's value",
        {"recipe": {"name": "fast", "iterations": -1}},
        "config.recipe.iterations",
        "greater than",
    ),
    ("a seed", {"seeds": ["one"]}, "config.seeds.0", "integer"),
    (
        "a listed cell",
        {"cells": [{"model": "CNN", "transform": "tps", "distortion": "R"}]},
        "config.cells.0",
        "takes no transform",
    ),
]


@pytest.mark.parametrize(
    ("config", "field", "said"), [one[1:] for one in WRONG], ids=[w[0] for w in WRONG]
)
def test_an_error_names_the_field(
    http: TestClient, config: dict[str, Any], field: str, said: str
) -> None:
    response = http.put("/v1/jobs/wrong", json={"config": config})
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert (error["code"], error["field"]) == ("unprocessable_entity", field)
    assert said in error["message"]
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/v1/jobs/nope", None, 404, None),
        ("GET", "/v1/jobs/nope/cells", None, 404, None),
        ("GET", "/v1/jobs/nope/events", None, 404, None),
        ("GET", "/v1/jobs/nope/table", None, 404, None),
        ("POST", "/v1/jobs/nope/cancel", {}, 404, None),
        ("POST", "/v1/jobs/nope/retry", {}, 404, None),
        ("GET", "/v1/attempts?cell=nothing", None, 404, None),
        ("GET", f"/v1/logs/{'0' * 16}/{'0' * 32}", None, 404, None),
        ("GET", "/v1/nothing", None, 404, None),
        ("DELETE", "/v1/jobs/done", None, 405, None),
        ("GET", "/v1/attempts", None, 422, "cell"),
        ("GET", "/v1/jobs/done/cells?limit=0", None, 422, "limit"),
        ("GET", "/v1/jobs/done/cells?colour=red", None, 422, "colour"),
        ("GET", "/v1/results?format=xml", None, 422, "format"),
        ("GET", "/v1/table?reference=mine", None, 422, "reference"),
        ("PUT", "/v1/jobs/no spaces", {"config": QUICK}, 422, "job_id"),
        ("PUT", "/v1/jobs/x", {}, 422, "config"),
        ("PUT", "/v1/jobs/x", {"config": QUICK, "priority": "high"}, 422, "priority"),
        ("PUT", "/v1/reruns/x", {"filters": {"model": ["VGG"]}}, 422, None),
        ("PUT", "/v1/reruns/x", {"filters": {"colour": ["red"]}}, 422, "filters.colour"),
    ],
)
def test_all_errors_have_one_shape(
    http: TestClient, done: str, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    response = http.request(method, path, json=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "field"}
    assert error["field"] == field
    assert error["message"]
