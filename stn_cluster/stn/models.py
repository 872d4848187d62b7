"""The table's models: FCN, CNN, ST-FCN and ST-CNN, built for a task (section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from stn_cluster.stn.classifiers import CNN, FCN
from stn_cluster.stn.grids import GridGenerator, Size
from stn_cluster.stn.localisation import ConvLocalisation, LinearLocalisation
from stn_cluster.stn.precision import Precision
from stn_cluster.stn.transformer import SpatialTransformer


@dataclass(frozen=True, kw_only=True)
class Task:
    """Task that a model is built for: the only argument of a model's `build` function."""

    channels: int = 1  # of the input: 1 or 3
    frame: int = 28  # pixels, height and width of an undistorted image
    canvas: int = 28  # pixels, height and width of the input
    n_classes: int = 10
    # What is outside of an image, in the input's own units (0 to 1): one number for each channel.
    background: tuple[float, ...] = (0.0,)
    transform: Callable[[Size], GridGenerator] | None = None  # None for a plain classifier
    filters: int = 64  # number of filters of each convolution, or of the first one
    second_filters: int | None = None  # number of filters of the second one; None: the same
    hidden_units: int = 256  # number of units of each hidden fully connected layer
    dropout: float = 0.0  # after each of those layers: `stn_cluster.stn.Dropout`
    transformer_size: int | None = None  # pixels of a transformer's output; None: as published
    precision: Precision = "float32"  # precision of the products in convolutions

    @property
    def size(self) -> Size:
        """Height and width of the input."""
        return (self.canvas, self.canvas)


def fcn(task: Task) -> nn.Module:
    """The fully connected network."""
    return _fcn(task, task.size)


def cnn(task: Task) -> nn.Module:
    """The convolutional network."""
    return _cnn(task, task.size)


def st_fcn(task: Task) -> nn.Module:
    """A transformer with the fully connected localisation net, then the FCN."""
    front, size = _front(task, LinearLocalisation(task.channels, task.size), smallest=1)
    return nn.Sequential(*front, _fcn(task, size))


def st_cnn(task: Task) -> nn.Module:
    """A transformer with the convolutional localisation net, then the CNN."""
    localisation = ConvLocalisation(task.channels, task.size, precision=task.precision)
    front, size = _front(task, localisation, CNN.SMALLEST)
    return nn.Sequential(*front, _cnn(task, size))


def _fcn(task: Task, size: Size) -> FCN:
    return FCN(task.channels, size, task.n_classes, task.hidden_units, task.dropout)


def _cnn(task: Task, size: Size) -> CNN:
    return CNN(
        task.channels,
        size,
        task.n_classes,
        task.filters,
        second_filters=task.second_filters,
        precision=task.precision,
    )


def _front(task: Task, localisation: nn.Module, smallest: int) -> tuple[list[nn.Module], Size]:
    """Modules before the classifier (the transformer first), and the classifier's input size.

    As published, the transformer's output has the input's size and is average-pooled by 2 on a
    large canvas (RTS: 42 pixels for a frame of 28), where the classifier can take that.

    Args:
        task, localisation: what it is built for, and of.
        smallest: pixels, the least input of the classifier.
    """
    assert task.transform is not None, "a spatial transformer network needs a transform"
    edge = task.transformer_size or task.canvas
    transformer = SpatialTransformer(
        task.channels,
        task.size,
        (edge, edge),
        transform=task.transform,
        localisation=localisation,
        background=task.background if any(task.background) else (),
    )
    large = 2 * task.canvas >= 3 * task.frame
    if task.transformer_size is None and large and task.canvas // 2 >= smallest:
        return [transformer, nn.AvgPool2d(2)], (edge // 2, edge // 2)
    return [transformer], (edge, edge)
