"""Pack runner: real training with checkpoints in a real store, stopped, dropped and resumed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.packs import ITERATIONS, arithmetic, make_cells, train
from support.plugin_sources import a_model, cells_of, write
from support.plugin_state import plugins_forgotten
from support.workers import HERE

from stn_cluster.cluster import pack_runner as module
from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.pack_runner import PackRunner
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.cluster.settings import Settings
from stn_cluster.data.cache import DataCache
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import WEIGHTS, Attempt, Checkpoint, utc_now
from stn_cluster.store import Store
from stn_cluster.training import trainer as trainer_module
from stn_cluster.training.outcome import Outcome

PAIR = make_cells(models=["FCN", "CNN"], seeds=[0])  # of one stream


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "YIELD_SECONDS", 0.0)  # a report a step
    monkeypatch.setattr(module, "STORE_RETRY_SECONDS", 0.02)


@pytest.fixture
def make_runner(store: Store) -> Callable[..., PackRunner]:
    """Makes runners that train into the store."""

    def make(**settings: Any) -> PackRunner:
        fields = {"store": store.uri, "state": "state", **settings}
        return PackRunner(Settings(**fields), "cpu")

    return make


MakeRunner = Callable[..., PackRunner]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Outcome]:
    """The pair's outcomes where nothing happens to it, by key."""
    return train(PAIR, DataCache(None, torch.device("cpu")))


def attempts(
    cells: list[Cell] = PAIR, resume_from: dict[str, Checkpoint] | None = None, name: str = "a"
) -> list[Attempt]:
    """A first attempt at each of the cells, or one that resumes; `a0`, `a1` ..."""
    return [
        Attempt(
            id=f"{name}{number}",
            cell=cell,
            job_id="j",
            pack_size=len(cells),
            worker=HERE,
            started_at=utc_now(),
            resume_from=(resume_from or {}).get(cell.key),
        )
        for number, cell in enumerate(cells)
    ]


def ended(reports: list[Report]) -> dict[str, Outcome]:
    """All outcomes, by key."""
    return {outcome.key: outcome for r in reports for outcome in r.ended.values()}


def result(store: Store, attempt: Attempt, outcome: Outcome) -> tuple[object, ...]:
    """All of a result that must not depend on interruptions, with the weights in the store."""
    weights = store.checkpoints.read(attempt.cell.key, attempt.id, WEIGHTS)
    return arithmetic(replace(outcome, weights=weights))


def lines(log: AttemptLog, attempt: str) -> list[str]:
    """The new lines of an attempt's log, without their times."""
    return [line.partition(" ")[2] for line in log.take().get(attempt, "").splitlines()]


# --- progress and results ---


def test_a_pack_is_reported_from_its_start_to_its_results(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    pack = attempts()
    first, *others = reports = list(make_runner().train(pack, AttemptLog()))
    assert first == Report(steps={"a0": 0, "a1": 0}, started={"a0": 0, "a1": 0})
    steps = [report.steps["a0"] for report in others if "a0" in report.steps]
    assert steps == list(range(1, ITERATIONS))
    assert reports[-1].steps == {}
    outcomes = ended(reports)
    for attempt in pack:
        key = attempt.cell.key
        assert outcomes[key].weights is None  # they are in the store
        assert result(store, attempt, outcomes[key]) == arithmetic(undisturbed[key])


def test_a_runner_trains_packs_one_after_the_other(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    runner = make_runner()
    for attempt in attempts():
        [outcome] = ended(list(runner.train([attempt], AttemptLog()))).values()
        assert result(store, attempt, outcome) == arithmetic(undisturbed[attempt.cell.key])


def test_a_runner_tells_where_it_runs(make_runner: MakeRunner) -> None:
    info = make_runner().info()
    assert info.host
    assert info.device
    assert type(info.torch_version) is str  # unpickled without torch
    assert info.torch_version == str(torch.__version__)
    assert info.process > 0


# --- checkpoints ---


def test_checkpoints_are_written_every_so_many_steps_and_reported_once_they_are_there(
    make_runner: MakeRunner, store: Store
) -> None:
    runner = make_runner(checkpoint_steps=10)
    saved = []
    for report in runner.train(attempts(), AttemptLog()):
        for attempt, step in report.saved.items():
            assert step == report.steps[attempt]
            key = next(a.cell.key for a in attempts() if a.id == attempt)
            assert store.checkpoints.read(key, attempt, Checkpoint(attempt, step).name)
            saved.append((attempt, step))
    assert saved == [("a0", 10), ("a1", 10), ("a0", 20), ("a1", 20)]


def test_checkpoints_are_written_after_so_many_seconds(make_runner: MakeRunner) -> None:
    [first, *_] = [
        report
        for report in make_runner(checkpoint_seconds=1e-9).train(attempts(), AttemptLog())
        if report.saved
    ]
    assert first.saved == {"a0": 1, "a1": 1}


def test_a_stopped_pack_leaves_checkpoints_and_resumes_from_them_bit_for_bit(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    runner, log = make_runner(), AttemptLog()
    for report in runner.train(attempts(), log):
        if report.steps.get("a0") == 7:
            runner.stop()
    assert report.saved == report.steps == {"a0": 8, "a1": 8}
    assert report.ended == {}

    resume_from = {a.cell.key: Checkpoint(a.id, 8) for a in attempts()}
    again = attempts(resume_from=resume_from, name="b")
    first, *_ = reports = list(make_runner().train(again, log))
    assert first.started == {"b0": 8, "b1": 8}
    for attempt in again:
        outcome = ended(reports)[attempt.cell.key]
        assert result(store, attempt, outcome) == arithmetic(undisturbed[attempt.cell.key])
    assert lines(log, "b0") == ["resumes from step 8 of a0"]


def test_a_checkpoint_that_is_not_there_is_logged_and_the_cell_starts_anew(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    [attempt] = attempts(PAIR[:1], {PAIR[0].key: Checkpoint("gone", 9)})
    log = AttemptLog()
    first, *_ = reports = list(make_runner().train([attempt], log))
    assert first.started == {"a0": 0}
    assert lines(log, "a0") == ["the checkpoint of step 9 is missing"]
    outcome = ended(reports)[attempt.cell.key]
    assert result(store, attempt, outcome) == arithmetic(undisturbed[attempt.cell.key])


# --- dropped attempts ---


def test_a_dropped_attempt_ends_without_a_result_and_its_mate_goes_on(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    runner, pack = make_runner(), attempts()
    reports = []
    for report in runner.train(pack, AttemptLog()):
        reports.append(report)
        if report.steps.get("a0") == 5:
            runner.drop({"a0", "unknown"})
    assert max(report.steps.get("a0", 0) for report in reports) == 5
    outcomes = ended(reports)
    assert set(outcomes) == {PAIR[1].key}
    assert result(store, pack[1], outcomes[PAIR[1].key]) == arithmetic(undisturbed[PAIR[1].key])
    assert store.checkpoints.of(PAIR[0].key) == []


# --- a store that is away ---


class Training:
    """A pack in training in a thread of its own."""

    def __init__(self, runner: PackRunner, pack: list[Attempt], log: AttemptLog) -> None:
        self.reports: list[Report] = []
        self.error: Exception | None = None
        self._reports = runner.train(pack, log)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.reports.extend(self._reports)
        except Exception as error:
            self.error = error

    def join(self) -> list[Report]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.reports


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@dataclass
class Disk:
    """The disk that the store is on."""

    mounted: Path
    elsewhere: Path

    def take_away(self) -> None:
        self.mounted.rename(self.elsewhere)

    def bring_back(self) -> None:
        self.elsewhere.rename(self.mounted)


@pytest.fixture
def disk(store: Store, tmp_path: Path) -> Disk:
    assert store.local_path is not None
    return Disk(store.local_path, tmp_path / "away")


def test_a_result_waits_for_a_store_that_is_away(
    make_runner: MakeRunner, store: Store, disk: Disk, undisturbed: dict[str, Outcome]
) -> None:
    runner, pack, log = make_runner(), attempts(), AttemptLog()
    disk.take_away()
    training = Training(runner, pack, log)
    wait_until(lambda: runner.degraded_reason)
    assert "the store's folder is not there" in str(runner.degraded_reason)
    assert ended(training.reports) == {}
    disk.bring_back()
    outcomes = ended(training.join())
    assert runner.degraded_reason is None
    for attempt in pack:
        outcome = outcomes[attempt.cell.key]
        assert result(store, attempt, outcome) == arithmetic(undisturbed[attempt.cell.key])
    assert all("waits for the store" in line for line in lines(log, "a0"))


def test_a_checkpoint_that_cannot_be_written_is_logged_and_training_goes_on(
    make_runner: MakeRunner, store: Store, disk: Disk
) -> None:
    runner, log = make_runner(checkpoint_steps=10), AttemptLog()
    reports = []
    for report in runner.train(attempts(PAIR[:1]), log):
        reports.append(report)
        if report.steps.get("a0") == 5:
            disk.take_away()
        if report.steps.get("a0") == 15:
            disk.bring_back()
    assert [report.saved for report in reports if report.saved] == [{"a0": 20}]
    assert len(ended(reports)) == 1
    [line] = lines(log, "a0")
    assert line.startswith("no checkpoint at step 10: ")


def test_a_pack_that_resumes_waits_for_a_store_that_is_away(
    make_runner: MakeRunner, store: Store, disk: Disk, undisturbed: dict[str, Outcome]
) -> None:
    runner, log = make_runner(), AttemptLog()
    for report in runner.train(attempts(PAIR[:1]), log):
        if report.steps.get("a0") == 7:
            runner.stop()
    [again] = attempts(PAIR[:1], {PAIR[0].key: Checkpoint("a0", 8)}, name="b")
    runner = make_runner()
    disk.take_away()
    training = Training(runner, [again], log)
    wait_until(lambda: runner.degraded_reason)
    disk.bring_back()
    outcomes = ended(training.join())
    assert training.reports[0].started == {"b0": 8}
    assert result(store, again, outcomes[PAIR[0].key]) == arithmetic(undisturbed[PAIR[0].key])


def test_an_attempt_that_is_dropped_while_the_store_is_away_costs_its_mate_nothing(
    make_runner: MakeRunner, store: Store, disk: Disk, undisturbed: dict[str, Outcome]
) -> None:
    short, long = make_cells(models=["FCN"], recipe={"iterations": 4}), PAIR[1:]
    pack = attempts([*short, *long])
    runner = make_runner()
    disk.take_away()
    training = Training(runner, pack, AttemptLog())
    wait_until(lambda: runner.degraded_reason)  # the short one's weights wait
    runner.drop({"a0"})
    wait_until(lambda: runner.degraded_reason is None)  # nothing waits for the store any more
    wait_until(lambda: training.reports and training.reports[-1].steps.get("a1", 0) > 4)
    disk.bring_back()
    outcomes = ended(training.join())
    assert set(outcomes) == {long[0].key}
    assert result(store, pack[1], outcomes[long[0].key]) == arithmetic(undisturbed[long[0].key])


def test_a_pack_that_waits_for_the_store_can_be_stopped(
    make_runner: MakeRunner, store: Store, disk: Disk
) -> None:
    runner = make_runner()
    disk.take_away()
    training = Training(runner, attempts(), AttemptLog())
    wait_until(lambda: runner.degraded_reason)
    runner.stop()
    assert ended(training.join()) == {}
    assert not (disk.elsewhere / "checkpoints" / PAIR[0].key).exists()


# --- what does not start ---


def test_a_plugin_that_cannot_be_imported_fails_its_cell_alone(
    make_runner: MakeRunner, store: Store, undisturbed: dict[str, Outcome]
) -> None:
    broken = PAIR[0].model_copy(update={"plugins": ("no_such_plugin",)})
    pack = attempts([broken, PAIR[1]])
    first, *_ = reports = list(make_runner().train(pack, AttemptLog()))
    assert set(first.ended) == {"a0"}
    error = first.ended["a0"].error
    assert error is not None
    assert error.startswith("UserError: plugins: 'no_such_plugin' does not import: ")
    outcome = ended(reports)[PAIR[1].key]
    assert result(store, pack[1], outcome) == arithmetic(undisturbed[PAIR[1].key])


def test_a_pack_of_which_no_plugin_can_be_imported_has_only_failures(
    make_runner: MakeRunner,
) -> None:
    broken = [cell.model_copy(update={"plugins": ("no_such_plugin",)}) for cell in PAIR]
    reports = list(make_runner().train(attempts(broken), AttemptLog()))
    assert all(outcome.error for outcome in ended(reports).values())
    assert len(ended(reports)) == 2
    assert reports[-1].steps == {}


def test_a_runner_does_not_start_without_its_store_or_its_data(
    make_runner: MakeRunner, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no-data: no such folder on "):
        make_runner(data_root=str(tmp_path / "no-data"))
    assert store.local_path is not None
    shutil.rmtree(store.local_path)
    with pytest.raises(StoreError, match="no result store here"):
        make_runner()


def test_two_peoples_plugins_of_one_name_are_trained_one_after_the_other(
    make_runner: MakeRunner, store: Store, tmp_path: Path
) -> None:
    model = "import torch\nfrom weights import START"
    body = "net = torch.nn.Linear(784, 10)\nnet.weight.data[0] = START\n"
    body += "return torch.nn.Sequential(torch.nn.Flatten(), net)"
    cells = []
    for person, start in (("ann", 0.0), ("bob", 100.0)):
        write(tmp_path / person, "mine.py", a_model("Mine", model, body))
        write(tmp_path / person, "weights.py", f"START = {start}")
        with plugins_forgotten():
            [cell] = cells_of(tmp_path / person, "mine", models=["Mine"])
            publish_plugins([cell], store)
        cells.append(cell)
        write(tmp_path / person, "weights.py", "raise ValueError('edited since')")
    with plugins_forgotten():
        together = ended(list(make_runner().train(attempts([*cells, PAIR[0]]), AttemptLog())))
    assert [together[cell.key].error for cell in cells] == [None, None]
    for cell in cells:
        with plugins_forgotten():
            alone = ended(list(make_runner().train(attempts([cell]), AttemptLog())))
        assert alone[cell.key].predictions == together[cell.key].predictions
        assert alone[cell.key].train_loss == together[cell.key].train_loss
    assert together[cells[0].key].train_loss != together[cells[1].key].train_loss
