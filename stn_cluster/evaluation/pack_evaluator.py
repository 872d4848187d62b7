"""Evaluates a pack of evaluations: each network is loaded once, each image is distorted once.

An evaluation's result is the same alone and in any pack.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol

import torch
from torch import Tensor, nn

from stn_cluster.data.cache import KEPT_BYTES, DataCache, DistortedTestSet
from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distorted_images import DistortedImages, labels_of
from stn_cluster.errors import NotFoundError
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.evaluation.draw_measures import Draw, measures, undistorted
from stn_cluster.evaluation.draws import drawn_images, worst_draws
from stn_cluster.evaluation.evaluation_sets import clean_set
from stn_cluster.evaluation.known_pose import PoseErrors
from stn_cluster.evaluation.subjects import Look, Subject
from stn_cluster.evaluations import Evaluation
from stn_cluster.inference.stored_cells import StoredCell
from stn_cluster.registry import check_revisions
from stn_cluster.training.activity import Activity
from stn_cluster.training.device import device_name
from stn_cluster.training.evaluation import as_labels, classes_as_bytes, count_wrong
from stn_cluster.training.outcome import Outcome, Predictions
from stn_cluster.training.trainer import Progress, ends_worker, failure_text

P = ParamSpec("P")
Attempts = Mapping[str, str]  # by evaluation: the attempt whose weights it is of


class GivenUpError(Exception):
    """The store could not be read before the pack was stopped: nothing is known of its cells."""


class TrainedCells(Protocol):
    """What is read of a store.

    Both raise GivenUpError if the pack was stopped while the store was away.
    """

    def network(self, stored: StoredCell) -> nn.Module:
        """Network of a trained cell, on the CPU.

        Raises:
            NotFoundError: its weights are not here.
            UserError: a component is of another version than what was trained.
        """

    def predictions(self, attempts: Container[str]) -> dict[str, list[int]]:
        """Stored predictions for cells' own test sets, by attempt."""


@dataclass
class _Group:
    """Evaluations on the same images, some of the first draw alone and some of several."""

    evaluations: list[Evaluation]
    draws: list[Draw] = field(default_factory=list)
    looks: dict[str, list[Look]] = field(default_factory=dict)  # by cell, one a draw
    left: dict[str, list[PoseErrors | None]] = field(default_factory=dict)


class PackEvaluator:
    """Evaluates; used as `PackTrainer` is.

    Args:
        evaluations: the evaluations, at least one, of cells that see the same images.
        attempts: whose weights they are of.
        data: data sets, on the device to compute on.
        store: where weights and predictions are.
        activity: told whose code runs, and of all progress.
        turn: called with an evaluation's key before code of it runs, and with None after it.
    """

    def __init__(
        self,
        evaluations: Sequence[Evaluation],
        attempts: Attempts,
        data: DataCache,
        store: TrainedCells,
        activity: Activity | None = None,
        turn: Callable[[str | None], None] = lambda key: None,
    ) -> None:
        self._running = {evaluation.key: evaluation for evaluation in evaluations}
        self._attempts = attempts
        self._data = data
        self._store = store
        self._activity = activity or Activity()
        self._turn = turn
        self._ended: list[Outcome] = []
        self._subjects: dict[str, Subject] = {}  # by cell
        self._clean: dict[tuple[str, str], Look] = {}  # by cell and data set
        self._stored: dict[str, Tensor] = {}  # predicted classes, by attempt

    def run(self) -> Iterator[Progress]:
        """Evaluates until all have ended; yields after each look of a network at a draw.

        To stop, stop iterating: what has ended is reported by then.
        """
        if own := [evaluation for evaluation in self._running.values() if evaluation.is_own_test]:
            self._guard(own, self._read_predictions, {self._attempts[e.key] for e in own})
        groups: dict[str, _Group] = {}
        for evaluation in self._running.values():
            groups.setdefault(evaluation.test.one_draw.name, _Group([])).evaluations.append(
                evaluation
            )
        for group in groups.values():
            yield from self._evaluate(group)
        if self._ended:
            yield self._progress()

    def drop(self, key: str) -> None:
        """Ends an evaluation without an outcome."""
        self._running.pop(key, None)

    def steps(self) -> dict[str, int]:
        """Steps done by each evaluation that has not ended, by key: none, as it is one step."""
        return dict.fromkeys(self._running, 0)

    def checkpoints(self) -> dict[str, bytes]:
        """Nothing: what has not ended begins anew."""
        return {}

    def _read_predictions(self, attempts: Container[str]) -> None:
        self._activity.begin("reads predictions from the store")
        found = self._store.predictions(attempts)
        self._stored = {attempt: torch.tensor(classes) for attempt, classes in found.items()}

    # --- one test set ---

    def _evaluate(self, group: _Group) -> Iterator[Progress]:
        loaded: list[Dataset] = []
        self._guard(group.evaluations, lambda: loaded.append(self._dataset(group.evaluations[0])))
        while loaded and (active := self._of_draw(group, len(group.draws))):
            self._guard(active, self._draw, group, active, loaded[0])
            if not self._of_draw(group, len(group.draws) - 1):  # all of them have failed
                break
            for evaluations in _by_cell(active):
                self._guard(evaluations, self._look, group, evaluations, loaded[0])
                yield self._progress()
            group.draws[-1].images.release()
        for evaluation in group.evaluations:
            if evaluation.key in self._running:
                self._guard([evaluation], self._finish, group, evaluation, loaded[0])
        group.draws.clear()
        yield self._progress()

    def _of_draw(self, group: _Group, draw: int) -> list[Evaluation]:
        """Evaluations that have not ended, and of which this draw is one."""
        return [
            evaluation
            for evaluation in group.evaluations
            if evaluation.key in self._running and evaluation.test.worst_of > draw
        ]

    def _dataset(self, evaluation: Evaluation) -> Dataset:
        cell = evaluation.base
        self._activity.begin(f"loads the data set {cell.dataset}", evaluation.key)
        return self._data.dataset(cell)

    def _draw(self, group: _Group, active: Sequence[Evaluation], data: Dataset) -> None:
        """Makes the images of the next draw."""
        first = active[0]
        self._activity.begin("makes its test set", *(e.key for e in active))
        check_revisions(first.test.cell)
        images = drawn_images(first.test, data, self._data.device, len(group.draws))
        if images.nbytes <= KEPT_BYTES and any(self._is_looked_at(e, data) for e in active):
            images.keep(self._activity.progressed)
        clean = None
        if first.on != CLEAN:
            clean = undistorted(drawn_images(clean_set(first.base), data, self._data.device))
        group.draws.append(Draw.of(images, clean, data.test_images, self._activity.progressed))

    def _look(self, group: _Group, evaluations: Sequence[Evaluation], data: Dataset) -> None:
        """Has a cell's network look at the images of the last draw."""
        if not any(self._is_looked_at(evaluation, data) for evaluation in evaluations):
            return
        first, draw = evaluations[0], group.draws[-1]
        try:
            subject = self._subject(first, data)
        except NotFoundError as error:  # then the cell's own test is without its pose
            for evaluation in evaluations:
                if self._own_classes(evaluation, data) is None:
                    self._fail(evaluation.key, error)
            return
        clean = None
        if subject.has_transformer and draw.pose is not None:
            test = clean_set(first.base)
            clean = self._clean_look(first, subject, drawn_images(test, data, self._data.device))
        keys = [evaluation.key for evaluation in evaluations]
        self._activity.begin(f"is tested on {first.on}", *keys)
        if first.on == CLEAN:
            look = self._clean_look(first, subject, draw.images)
        else:
            images_name = f"{first.test.one_draw.name}/{len(group.draws) - 1}"
            look = subject.look(draw.images, images_name, self._activity.progressed)
        self._activity.begin("has its pose measured", *keys)
        group.looks.setdefault(first.cell.key, []).append(look._replace(points=None))
        group.left.setdefault(first.cell.key, []).append(draw.pose_errors(look, clean))

    def _clean_look(
        self, evaluation: Evaluation, subject: Subject, images: DistortedImages
    ) -> Look:
        """A network's look at the undistorted images, which all its poses are compared with."""
        whose = evaluation.cell.key, evaluation.base.dataset
        if whose not in self._clean:
            self._activity.begin("is tested on clean", evaluation.key)
            look = subject.look(images, "clean", self._activity.progressed)
            points = None if look.points is None else look.points.cpu()  # kept for the whole pack
            self._clean[whose] = look._replace(points=points)
        return self._clean[whose]

    # --- one evaluation ---

    def _is_looked_at(self, evaluation: Evaluation, data: Dataset) -> bool:
        """Whether the network is needed: stored predictions tell all but the pose."""
        if self._own_classes(evaluation, data) is None:
            return True
        return evaluation.cell.transform != "none"

    def _own_classes(self, evaluation: Evaluation, data: Dataset) -> Tensor | None:
        """Stored predictions of the cell's own test, if they are there."""
        if not evaluation.is_own_test:
            return None
        found = self._stored.get(self._attempts[evaluation.key])
        count = len(data.test_labels) * data.test_repeats
        return found if found is not None and len(found) == count else None

    def _subject(self, evaluation: Evaluation, data: Dataset) -> Subject:
        """A cell's network, loaded at its first evaluation."""
        cell = evaluation.cell
        if cell.key not in self._subjects:
            self._activity.begin("loads its weights", evaluation.key)
            stored = StoredCell(cell, self._attempts[evaluation.key], data.n_classes, None)
            device = self._data.device
            model = self._store.network(stored).to(device)
            self._subjects[cell.key] = Subject(cell, model, data.n_classes, device)
        return self._subjects[cell.key]

    def _finish(self, group: _Group, evaluation: Evaluation, data: Dataset) -> None:
        draws = group.draws[: evaluation.test.worst_of]
        labels = labels_of(data, torch.device("cpu"))
        looks = group.looks.get(evaluation.cell.key, [])
        if (own := self._own_classes(evaluation, data)) is not None:
            classes = own[None]
        else:
            classes = torch.stack([look.classes for look in looks[: len(draws)]])
        counted = worst_draws(classes, labels)
        chosen = classes.gather(0, counted[None])[0]
        left = group.left.get(evaluation.cell.key, [None])[: len(draws)]
        test = DistortedTestSet(
            draws[0].images,
            labels,
            data.n_classes,
            evaluation.test.name,
            data.test_repeats,
            data.class_names,
        )
        tested = evaluation.test.cell
        predictions = Predictions(
            test_set=test.name,
            n_classes=data.n_classes,
            first=classes_as_bytes(chosen, data.n_classes),
            second=b"",
            confidence=b"",
            second_confidence=b"",
        )
        self._end(
            Outcome(
                key=evaluation.key,
                predictions=predictions,
                labels=as_labels(
                    test, tested.dataset, tested.revisions[f"dataset:{tested.dataset}"]
                ),
                n_test=len(labels),
                n_wrong=count_wrong(chosen, labels),
                device=device_name(self._data.device),
                measures=measures(draws, left, counted),
            )
        )

    def _end(self, outcome: Outcome) -> None:
        self.drop(outcome.key)
        self._ended.append(outcome)

    def _progress(self) -> Progress:
        ended, self._ended = tuple(self._ended), []
        return Progress(ended, self.steps())

    def _guard(
        self,
        evaluations: Sequence[Evaluation],
        action: Callable[P, None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Runs an action for evaluations; if it fails, only these end."""
        running = [evaluation.key for evaluation in evaluations if evaluation.key in self._running]
        if not running:
            return
        self._turn(running[0])
        try:
            with torch.inference_mode(False), torch.no_grad():
                action(*args, **kwargs)
        except GivenUpError:
            for key in running:
                self.drop(key)
        except (Exception, SystemExit) as error:
            if ends_worker(error):
                raise
            for key in running:
                self._fail(key, error)
        finally:
            self._turn(None)

    def _fail(self, key: str, error: BaseException) -> None:
        device = device_name(self._data.device)
        self._end(Outcome(key=key, error=failure_text(error), device=device))


def _by_cell(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    cells: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        cells.setdefault(evaluation.cell.key, []).append(evaluation)
    return list(cells.values())
