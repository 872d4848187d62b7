"""One cell in training: its model, optimiser, schedule and curve."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.data.cache import DistortedTestSet
from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.registry import check_revisions
from stn_cluster.stn.dropout import Dropout
from stn_cluster.stn.transformer import Jitter, SpatialTransformer
from stn_cluster.training.activity import Progressed, no_one
from stn_cluster.training.attributes import Attributes, refuse_unreadable_state
from stn_cluster.training.averaging import WeightAverage
from stn_cluster.training.building import alone, build_model
from stn_cluster.training.checked_model import CheckedModel, component_of
from stn_cluster.training.checkpoints import from_bytes, to_bytes
from stn_cluster.training.device import device_name
from stn_cluster.training.evaluation import (
    NotFiniteError,
    count_wrong,
    predict,
    rank,
    tested,
)
from stn_cluster.training.optimizers import make_optimizer
from stn_cluster.training.outcome import CurvePoint, Outcome

CHECK_EVERY = 16  # steps between checks of the loss, each of which waits for the device
CURVE_POINTS = 50
FIRST_STEPS = 3  # steps in which it is looked for what a CUDA graph would not repeat


class CellTraining:
    """Trains one cell step by step; its whole state can be saved and restored.

    Args:
        cell: the cell to train.
        test: its test set.
        device: the device to train on.
        progressed: called after each batch that is tested on.
    """

    def __init__(
        self,
        cell: Cell,
        test: DistortedTestSet,
        device: torch.device,
        progressed: Progressed = no_one,
    ) -> None:
        check_revisions(cell)
        self.cell = cell
        self.test = test
        self.device = device
        self._progressed = progressed
        self.recipe = Recipe.model_validate(cell.settings)
        self.step = 0
        self.seconds = 0.0
        self.curve: list[CurvePoint] = []
        self._name, self._user_code = component_of(cell)
        # The cell's own random numbers (for initial weights and models of plug-ins), so that they
        # do not depend on the other cells of the process.
        seed = seed_of("weights", cell.seed)
        self._random = RandomState(seed, device, user_code=self._user_code)
        with self._alone():
            self.model = build_model(cell, self.recipe, test.n_classes).to(device)
        self._attributes = Attributes(self.model) if self._user_code else None
        self._scores = CheckedModel(self.model, self._name, test.n_classes, self._user_code, device)
        self._steps_here = 0  # steps since it was built in this process
        self._draws = self._changes = False
        self._digests: object = None
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.average = WeightAverage(self.optimizer.groups) if self.recipe.ema else None
        self._jitter, self._averaging = torch.zeros(2, device=device).unbind()
        self.noise = self._give_noise()
        self._loss_sum = torch.zeros((), device=device)
        self._loss_count = 0

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.recipe.iterations

    @property
    def replayable(self) -> bool:
        """Whether a CUDA graph of its step would do all that the step does.

        It would not draw for one cell alone from a default generator, as a plug-in's dropout does,
        nor change a Python attribute, as a plug-in that counts its steps does.
        """
        return not (self._draws or self._changes)

    @property
    def quiet_steps(self) -> int:
        """Number of steps, 1 or more, until the host has to check the loss or evaluate."""
        intervals = [CHECK_EVERY, self._curve_every, self.recipe.evaluate_every or CHECK_EVERY]
        return min(
            self.recipe.iterations - self.step, *(every - self.step % every for every in intervals)
        )

    def train(self, images: Tensor, labels: Tensor) -> None:
        """Trains one step: forward, backward, update.

        Raises:
            NotFiniteError: the loss isn't finite (noticed within `CHECK_EVERY` steps).
            UserError: a plug-in's model gave no scores, or changed what is not its own (values of
                the batch: noticed within `CHECK_EVERY` steps).
        """
        with self._alone():
            self.compute(images, labels, *self.recipe.at(self.step))
        self._draws |= bool(self._random.drew)
        self._steps_here += 1
        if self._attributes is not None and self._steps_here <= FIRST_STEPS:
            before, self._digests = self._digests, self._attributes.digests()
            self._changes = before != self._digests
        if self._steps_here == FIRST_STEPS:
            self._random.watch_only_the_gpu()
        self.stepped(1)

    def compute(
        self,
        images: Tensor,
        labels: Tensor,
        rate: Tensor | float,
        jitter: Tensor | float,
        averaging: Tensor | float,
    ) -> None:
        """Device's part of a step: it reads nothing back and works on fixed addresses.

        Args:
            images: (N, C, canvas, canvas).
            labels: (N,).
            rate, jitter, averaging: values of `Recipe.at` for the step.
        """
        self._jitter.fill_(jitter)
        self._averaging.fill_(averaging)
        self.optimizer.set_lr(rate)
        self.optimizer.zero_grad()
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(self._scores(images), labels, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self._averaging)
        self._loss_sum += loss.detach()

    def stepped(self, steps: int) -> None:
        """Host's part, after a number of steps (at most `quiet_steps`).

        Raises:
            NotFiniteError: see `train`.
        """
        self._loss_count += steps
        self.step += steps
        if self.step % CHECK_EVERY == 0 or self.done:
            self._check_loss()
        self._record()

    def outcome(self) -> Outcome:
        """Tests the trained model and returns the cell's outcome.

        Raises:
            NotFiniteError: a score is not finite.
            UserError: see `train`; or the weights cannot be read back.
        """
        with self._alone(), self._tested_weights():
            ranking = rank(self._scores, self.test.images, self._progressed)
            state = self.model.state_dict()
            if self._user_code:
                refuse_unreadable_state(state)
            weights = to_bytes(
                {"model": state, "attributes": self._final_attributes()}
                | {"n_classes": self.test.n_classes}
            )
        self._scores.check_images(training=False)
        return self._outcome(
            **tested(self.cell, ranking, self.test),
            weights=weights,
        )

    def failure(self, error: str) -> Outcome:
        """Outcome of a cell whose code failed."""
        return self._outcome(error=error)

    def checkpoint(self) -> bytes:
        """Everything that the remaining training depends on, as far as it can be kept.

        Raises:
            UserError: the state of a plug-in's model could not be read back.
        """
        with self._alone():
            model = self.model.state_dict()
            try:
                if self._user_code:
                    refuse_unreadable_state(model)
                attributes = self._attributes.state_dict() if self._attributes else []
            except UserError as error:
                raise UserError(f"{self._name}: {error}") from None
        return to_bytes(
            {
                "key": self.cell.key,
                "step": self.step,
                "seconds": self.seconds,
                "model": model,
                "attributes": attributes,
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "random": self._random.state_dict(),
                "noise": None if self.noise is None else self.noise.get_state(),
                "loss_sum": self._loss_sum,
                "loss_count": self._loss_count,
                "curve": [asdict(point) for point in self.curve],
            }
        )

    def resume(self, data: bytes) -> None:
        """Resumes from a `checkpoint`: on a CPU, bit for bit as if never interrupted.

        Raises:
            ValueError: the checkpoint is damaged or belongs to another cell.
        """
        state = from_bytes(data)
        if state.get("key") != self.cell.key:
            raise ValueError(f"a checkpoint of another cell: {state.get('key')}")
        with self._alone():
            self.model.load_state_dict(state["model"])
        if self._attributes is not None:
            self._attributes.load_state_dict(state.get("attributes", []))
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        self._random.load_state_dict(state["random"])
        if self.noise is not None:
            self.noise.set_state(state["noise"])
        self._loss_sum = state["loss_sum"].to(self.device)
        self._loss_count = state["loss_count"]
        self.curve = [CurvePoint(**point) for point in state["curve"]]

    def check_restorable(self) -> None:
        """Saves and restores its state, which changes nothing.

        Raises:
            UserError: a plug-in's model cannot be restored; better known now than after hours.
        """
        if not self._user_code:
            return
        try:
            self.resume(self.checkpoint())
        except (UserError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"{self._name} cannot be restored from a checkpoint: {reason}"
            ) from None

    def rehearse(self, images: Tensor, labels: Tensor) -> None:
        """Tests and trains the model once, and raises what that raises; only the weights change."""
        with self._alone():
            predict(self._scores, self.test.images)
            self.compute(images, labels, *self.recipe.at(0))
        self._check_trained()
        for training in (True, False):
            self._scores.check_images(training)

    def _give_noise(self) -> torch.Generator | None:
        """Creates the generator of dropout and jitter on the device, if the recipe uses them."""
        if not (self.recipe.theta_jitter or self.recipe.dropout):
            return None
        noise = torch.Generator(self.device).manual_seed(seed_of("noise", self.cell.seed))
        for module in self.model.modules():
            if isinstance(module, Dropout):
                if module.generator is not None:
                    raise UserError(f"{self._name} gave a cell the Dropout module of another one")
                module.generator = noise
            if isinstance(module, SpatialTransformer) and self.recipe.theta_jitter:
                module.jitter_theta(Jitter(self._jitter, noise))
        return noise

    def _alone(self) -> AbstractContextManager[None]:
        return alone(self._name, self._user_code, self._random)

    def _check_loss(self) -> float:
        self._scores.check_images(training=True)
        self._check_trained()
        loss = float(self._loss_sum)
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"the loss is not finite (seen at step {self.step} of {self.recipe.iterations}, "
                f"learning rate {self.recipe.lr_at(self.step - 1):.3g}): lower learning_rate "
                "or localisation_rate"
            )
        return loss

    def _check_trained(self) -> None:
        if self._user_code and not self.optimizer.trains(self.model):
            raise UserError(
                f"{self._name} added, replaced, froze or freed parameters or their gradients in "
                "training (a new module or Parameter, `zero_grad`, `half`, `requires_grad_`), "
                "which the optimiser cannot follow: do so where the model is built, or use lazy "
                "modules (`torch.nn.LazyLinear`)"
            )

    def _final_attributes(self) -> list[Any] | None:
        """Python attributes that training has changed; None if a file cannot hold them."""
        try:
            return self._attributes.state_dict() if self._attributes else []
        except UserError:
            return None

    def _tested_weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.in_place()

    @property
    def _curve_every(self) -> int:
        return max(1, self.recipe.iterations // CURVE_POINTS)

    def _record(self) -> None:
        every = self.recipe.evaluate_every
        evaluate = every is not None and self.step % every == 0 and not self.done
        if not (evaluate or self.done or self.step % self._curve_every == 0):
            return
        mean = self._check_loss() / self._loss_count
        error = None
        if evaluate:
            with self._alone(), self._tested_weights():
                classes = predict(self._scores, self.test.images, self._progressed)
                wrong = count_wrong(classes, self.test.labels)
            self._scores.check_images(training=False)
            error = 100 * wrong / len(self.test.labels)
        rate = self.recipe.lr_at(self.step - 1)
        self.curve.append(CurvePoint(step=self.step, train_loss=mean, lr=rate, test_error=error))
        self._loss_sum.zero_()
        self._loss_count = 0

    def _outcome(self, **fields: Any) -> Outcome:
        images = self.step * self.recipe.batch_size
        return Outcome(
            key=self.cell.key,
            train_loss=self.curve[-1].train_loss if self.curve else None,
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            iterations=self.step,
            device=device_name(self.device, self.recipe.precision),
            train_seconds=self.seconds,
            images_per_second=images / self.seconds if self.seconds else None,
            curve=tuple(self.curve),
            **fields,
        )
