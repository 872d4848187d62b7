"""Trained networks under evaluation: which classes they predict, and which grids."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.evaluation.known_pose import at_points
from stn_cluster.grid import Cell
from stn_cluster.stn import SpatialTransformer
from stn_cluster.training.activity import Progressed
from stn_cluster.training.building import alone
from stn_cluster.training.checked_model import CheckedModel, component_of
from stn_cluster.training.evaluation import predict


class Look(NamedTuple):
    """What a network makes of N images."""

    classes: Tensor  # (N,) int64, on the CPU
    points: Tensor | None  # (N, K, 2), the predicted grids `at_points`; None without a transformer
    size: tuple[int, ...]  # height and width of the transformer's output


class Subject:
    """A trained cell's network.

    Args:
        cell: the cell.
        model: its network, with the trained weights, on the device.
        n_classes: of its data set.
        device: the device to compute on.
    """

    def __init__(self, cell: Cell, model: nn.Module, n_classes: int, device: torch.device) -> None:
        self.cell = cell
        self._name, self._user_code = component_of(cell)
        self._scores = CheckedModel(model, self._name, n_classes, self._user_code, device)
        self._transformer = _transformer(model, cell.canvas)

    @property
    def has_transformer(self) -> bool:
        """Whether a grid is predicted for its images."""
        return self._transformer is not None

    def look(self, images: DistortedImages, name: str, progressed: Progressed) -> Look:
        """Looks at all images.

        Args:
            images: of the cell's canvas.
            name: of these images: what a plug-in's network draws is a function of it.
            progressed: called after each batch.

        Raises:
            NotFiniteError: a score is not finite.
            UserError: a plug-in's model gave no scores, or changed what is not its own.
        """
        seed = seed_of("evaluated", self.cell.seed, name)
        random = RandomState(seed, images.device, user_code=self._user_code)
        parts: list[Tensor] = []
        size: tuple[int, ...] = ()

        def note(module: nn.Module, given: object, grid: Tensor) -> None:
            nonlocal size
            size = tuple(grid.shape[1:3])
            parts.append(at_points(grid.detach()))

        hook = self._transformer and self._transformer.grid.register_forward_hook(note)
        try:
            with alone(self._name, self._user_code, random):
                classes = predict(self._scores, images, progressed)
        finally:
            if hook:
                hook.remove()
        self._scores.check_images(training=False)
        points = torch.cat(parts) if parts else None
        if points is not None and len(points) != len(images):  # called several times an image
            points = None
        return Look(classes.cpu(), points, size)


def _transformer(model: nn.Module, canvas: int) -> SpatialTransformer | None:
    """The transformer that reads the images, if there is just one in the network."""
    layers = [layer for layer in model.modules() if isinstance(layer, SpatialTransformer)]
    if len(layers) != 1 or tuple(layers[0].size) != (canvas, canvas):
        return None
    return layers[0]
