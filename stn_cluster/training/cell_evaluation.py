"""One cell that is evaluated and not trained: its model has its weights from a file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from stn_cluster.data.cache import DistortedTestSet
from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.grid import Cell
from stn_cluster.recipes import Shape
from stn_cluster.registry import check_revisions, check_weights
from stn_cluster.training.activity import Progressed, no_one
from stn_cluster.training.building import alone, build_model
from stn_cluster.training.checked_model import CheckedModel, component_of
from stn_cluster.training.device import device_name
from stn_cluster.training.evaluation import rank, tested
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.weight_files import load_into, read_weights

log = logging.getLogger(__name__)


class CellEvaluation:
    """Tests the model of a cell; it has no steps, and nothing to resume.

    Args:
        cell: the cell.
        test: its test set.
        device: the device to compute on.
        data_root: folder of the file of weights.
        progressed: called after each batch that is tested on.

    Raises:
        UserError: the file is another one than the cell was made for, or does not fit the model.
    """

    def __init__(
        self,
        cell: Cell,
        test: DistortedTestSet,
        device: torch.device,
        data_root: Path | None,
        progressed: Progressed = no_one,
    ) -> None:
        check_revisions(cell)
        self.cell = cell
        self._test, self._device, self._progressed = test, device, progressed
        name, user_code = component_of(cell)
        self._random = RandomState(seed_of("weights", cell.seed), device, user_code=user_code)
        weights = read_weights(check_weights(cell, data_root))
        with alone(name, user_code, self._random):
            model = build_model(cell, Shape.model_validate(cell.settings), test.n_classes)
            for remark in load_into(model, weights, name):
                log.info("%s: %s", cell.label, remark)
            self._model = model.to(device)
        self._scores = CheckedModel(model, name, test.n_classes, user_code, device)

    def outcome(self) -> Outcome:
        """Tests the model.

        Raises:
            NotFiniteError: a score is not finite.
            UserError: a plug-in's model gave no scores, or changed what is not its own.
        """
        with alone(*component_of(self.cell), self._random):
            ranking = rank(self._scores, self._test.images, self._progressed)
        self._scores.check_images(training=False)
        return self._outcome(**tested(self.cell, ranking, self._test))

    def failure(self, error: str) -> Outcome:
        """Outcome of a cell whose code failed."""
        return self._outcome(error=error)

    def _outcome(self, **fields: Any) -> Outcome:
        return Outcome(
            key=self.cell.key,
            parameters=sum(p.numel() for p in self._model.parameters() if p.requires_grad),
            iterations=None,
            train_seconds=None,
            device=device_name(self._device),
            **fields,
        )
