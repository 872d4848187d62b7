"""The two classifiers of the paper's MNIST experiments (section 4.1), without a transformer."""

from __future__ import annotations

from torch import Tensor, nn

from stn_cluster.stn.convolution import ConvPool2d
from stn_cluster.stn.dropout import Dropout
from stn_cluster.stn.grids import Size
from stn_cluster.stn.precision import Precision


class FCN(nn.Sequential):
    """Fully connected: two hidden layers, then the classifier. (N, C, H, W) -> (N, classes).

    Args:
        channels: C of the input.
        size: height and width of the input in pixels.
        n_classes: number of scores.
        hidden_units: number of units of each hidden layer.
        dropout: fraction of them that is dropped in training.
    """

    def __init__(
        self,
        channels: int,
        size: Size,
        n_classes: int,
        hidden_units: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(channels * size[0] * size[1], hidden_units),
            _relu(dropout),
            nn.Linear(hidden_units, hidden_units),
            _relu(dropout),
            nn.Linear(hidden_units, n_classes),
        )


def _relu(dropout: float) -> nn.Module:
    """One module with or without dropout, so that the weights have the same names."""
    return nn.Sequential(nn.ReLU(), Dropout(dropout)) if dropout else nn.ReLU()


class CNN(nn.Module):
    """Conv 9x9, max-pool 2, conv 7x7, max-pool 2, classifier. (N, C, H, W) -> (N, classes).

    Pooling rounds up, which makes no difference at 28x28 and allows 21x21 inputs (a pooled 42x42).

    Args:
        channels: C of the input.
        size: height and width of the input in pixels.
        n_classes: number of scores.
        filters: number of filters of the first convolution.
        second_filters: number of filters of the second one; None: the same number.
        precision: precision of the convolutions' products.

    Raises:
        ValueError: the input is too small for the second convolution.
    """

    SMALLEST = 21  # 21 -> 13 -> 7 -> 1 -> 1

    def __init__(
        self,
        channels: int,
        size: Size,
        n_classes: int,
        filters: int = 64,
        second_filters: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        last = second_filters or filters
        if min(size) < self.SMALLEST:
            raise ValueError(
                f"CNN takes inputs from {self.SMALLEST}x{self.SMALLEST} pixels, "
                f"not {size[0]}x{size[1]}"
            )
        height, width = (pooled(pooled(edge - 8) - 6) for edge in size)
        self.features = nn.Sequential(
            ConvPool2d(channels, filters, 9, ceil_mode=True, precision=precision),
            ConvPool2d(filters, last, 7, ceil_mode=True, precision=precision),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(last * height * width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before the softmax."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def pooled(edge: int) -> int:
    """Height or width of a feature map after pooling by 2, rounded up."""
    return -(-edge // 2)
