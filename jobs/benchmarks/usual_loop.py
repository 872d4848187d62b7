"""The usual PyTorch loop that a user would write instead, in the style of the STN tutorial.

torchvision's transforms image by image in a DataLoader, eager modules, a fused AdamW: the same
architectures, batches, schedule and number of steps as ours, one cell after the other.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from stn_cluster.data.datasets import Dataset
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe

BILINEAR = InterpolationMode.BILINEAR
CORNERS = ((0.0, 0.0), (42.0, 0.0), (42.0, 42.0), (0.0, 42.0))  # of a canvas, clockwise


# --- distortions, image by image ---


class RotateTranslateScale:
    """On a 42x42 canvas: +-45 degrees, 0.7 to 1.2, anywhere the frame fits."""

    def __call__(self, image: Image.Image) -> Image.Image:
        angle, scale = random.uniform(-45, 45), random.uniform(0.7, 1.2)
        turned = abs(math.cos(math.radians(angle))) + abs(math.sin(math.radians(angle)))
        room = max(0.0, 21 - 14 * scale * turned)
        shift = [random.uniform(-room, room) for _ in "xy"]
        return TF.affine(TF.pad(image, 7), angle, shift, scale, 0.0, BILINEAR)


class MoveCorners:
    """On 42x42: scaled by 0.75 to 1 about the centre, then each corner moved by N(0, 5 px)."""

    def __call__(self, image: Image.Image) -> Image.Image:
        scale = random.uniform(0.75, 1)
        starts = [list(corner) for corner in CORNERS]
        ends = [[21 + scale * (c - 21) + random.gauss(0, 5) for c in corner] for corner in CORNERS]
        return TF.perspective(TF.resize(image, [42], BILINEAR), starts, ends, BILINEAR)


class Elastic:
    """A thin plate spline through 4x4 points, each moved by N(0, 1.5 px); one product an image."""

    def __init__(self) -> None:
        self.spline = Spline(28)

    def __call__(self, image: Tensor) -> Tensor:
        moves = torch.randn(1, 32) * 1.5 * 2 / 28
        grid = self.spline(self.spline.identity + moves)
        return F.grid_sample(image[None], grid, align_corners=False)[0]


TRANSFORMS: dict[str, Callable[[], list[Any]]] = {
    "R": lambda: [transforms.RandomRotation(90, BILINEAR), transforms.ToTensor()],
    "RTS": lambda: [RotateTranslateScale(), transforms.ToTensor()],
    "P": lambda: [MoveCorners(), transforms.ToTensor()],
    "E": lambda: [transforms.ToTensor(), Elastic()],
}


class DistortedDigits(TorchDataset[tuple[Tensor, int]]):
    """Images that are distorted anew whenever they are taken."""

    def __init__(self, images: Tensor, labels: Tensor, distortion: str) -> None:
        self.images = images.numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose(TRANSFORMS[distortion]())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


# --- models ---


class Spline(nn.Module):
    """theta (N, 32), the 4x4 control points' places -> grid (N, size, size, 2)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        ticks = np.linspace(-1, 1, 4)
        control = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
        centres = (2 * np.arange(size) + 1) / size - 1
        points = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)

        def basis(at: Any) -> Any:
            squared = ((at[:, None] - control) ** 2).sum(-1)
            bend = np.where(squared > 0, squared * np.log(np.maximum(squared, 1e-300)) / 2, 0)
            return np.hstack([bend, np.ones((len(at), 1)), at])

        affine = basis(control)[:, 16:]
        system = np.vstack([basis(control), np.hstack([affine.T, np.zeros((3, 3))])])
        matrix = basis(points) @ np.linalg.inv(system)[:, :16]
        self.size = size
        self.register_buffer("matrix", torch.tensor(matrix, dtype=torch.float32))
        self.register_buffer("identity", torch.tensor(control.ravel(), dtype=torch.float32))

    def forward(self, theta: Tensor) -> Tensor:
        return (self.matrix @ theta.view(-1, 16, 2)).view(-1, self.size, self.size, 2)


class Localised(nn.Module):
    """Localisation net, grid, sampler: as `Net.stn` in the tutorial."""

    def __init__(self, localisation: nn.Module, features: int, transform: str, size: int) -> None:
        super().__init__()
        self.localisation = localisation
        self.transform = transform
        self.size = size
        self.spline = Spline(size)
        identity = {
            "affine": torch.eye(2, 3).flatten(),
            "projective": torch.eye(3).flatten()[:8],
            "tps": self.spline.identity,
        }[transform]
        self.fc_loc = nn.Linear(features, len(identity))
        self.fc_loc.weight.data.zero_()
        self.fc_loc.bias.data.copy_(identity)
        centres = (2 * torch.arange(size) + 1) / size - 1
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("points", torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3))

    def forward(self, images: Tensor) -> Tensor:
        theta = self.fc_loc(self.localisation(images))
        if self.transform == "affine":
            shape = (len(images), 1, self.size, self.size)
            grid = F.affine_grid(theta.view(-1, 2, 3), shape, align_corners=False)
        elif self.transform == "projective":
            matrix = F.pad(theta, (0, 1), value=1.0).view(-1, 3, 3)
            mapped = self.points @ matrix.transpose(1, 2)
            grid = (mapped[..., :2] / mapped[..., 2:]).view(-1, self.size, self.size, 2)
        else:
            grid = self.spline(theta)
        return F.grid_sample(images, grid, align_corners=False)


def usual_model(cell: Cell) -> nn.Module:
    """Architecture of a cell, from PyTorch's own layers."""
    recipe = Recipe.model_validate(cell.settings)
    size, (width, last_width) = cell.canvas, recipe.widths
    front: list[nn.Module] = []
    if cell.transform != "none":
        edge = recipe.transformer_size or size
        localisation, features = _localisation(cell.model, size)
        front.append(Localised(localisation, features, cell.transform, edge))
        if recipe.transformer_size is None and edge // 2 >= 21:
            front.append(nn.AvgPool2d(2))
            edge //= 2
        size = edge
    if cell.model.endswith("CNN"):
        last = math.ceil((math.ceil((size - 8) / 2) - 6) / 2)
        return nn.Sequential(
            *front,
            nn.Conv2d(1, width, 9),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.ReLU(),
            nn.Conv2d(width, last_width, 7),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(last_width * last**2, 10),
        )
    units = recipe.hidden_units
    return nn.Sequential(
        *front,
        nn.Flatten(),
        nn.Linear(size**2, units),
        nn.ReLU(),
        nn.Linear(units, units),
        nn.ReLU(),
        nn.Linear(units, 10),
    )


def _localisation(model: str, size: int) -> tuple[nn.Module, int]:
    if model == "ST-FCN":
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(size**2, 32), nn.ReLU()]
        for _ in range(2):
            layers += [nn.Linear(32, 32), nn.ReLU()]
        return nn.Sequential(*layers), 32
    last = (size // 2 - 4) // 2 - 4
    net = nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 20, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20 * last**2, 20),
        nn.ReLU(),
    )
    return net, 20


def usual_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, in two groups: the localisation nets have their own learning rate."""
    localised = [p for m in model.modules() if isinstance(m, Localised) for p in m.parameters()]
    known = {id(p) for p in localised}
    rest = [p for p in model.parameters() if id(p) not in known]
    groups = [{"params": rest, "factor": 1.0}]
    if localised:
        groups.append({"params": localised, "factor": recipe.localisation_rate})
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        betas = (0.9, recipe.beta2)
        return torch.optim.AdamW(groups, rate, betas, weight_decay=decay, fused=True)
    return torch.optim.SGD(groups, rate, recipe.momentum, weight_decay=decay, fused=True)


# --- the loop ---


@dataclass(frozen=True)
class Usual:
    """Result of a cell in the usual loop."""

    step_seconds: float  # mean of the timed steps
    evaluation_seconds: float
    error: float  # test error in percent


def train_usually(
    cell: Cell,
    data: Dataset,
    *,
    num_workers: int,
    device: str = "cpu",
    warmup: int = 3,
    evaluate: bool = True,
) -> Usual:
    """Trains a cell for its recipe's iterations, one step after the other.

    Args:
        cell: which.
        data: its images.
        num_workers: of the DataLoader.
        device: 'cpu' or 'cuda'.
        warmup: steps at the beginning that are not timed.
        evaluate: whether it is tested at the end.
    """
    recipe = Recipe.model_validate(cell.settings)
    torch.manual_seed(cell.seed)
    model = usual_model(cell).to(device)
    optimizer = usual_optimizer(model, recipe)
    options: dict[str, Any] = {
        "batch_size": recipe.batch_size,
        "num_workers": num_workers,
        "pin_memory": device == "cuda",
    }
    train = DistortedDigits(data.train_images, data.train_labels, cell.distortion)
    loader = DataLoader(
        train, shuffle=True, drop_last=True, persistent_workers=num_workers > 0, **options
    )
    batches = _endless(loader)
    for step in range(recipe.iterations):
        if step == min(warmup, recipe.iterations - 1):
            _wait(device)
            started, first = time.perf_counter(), step
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step) * group["factor"]
        images, labels = (part.to(device, non_blocking=True) for part in next(batches))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels, label_smoothing=recipe.label_smoothing)
        loss.backward()
        optimizer.step()
    _wait(device)
    step_seconds = (time.perf_counter() - started) / (recipe.iterations - first)
    if not evaluate:
        return Usual(step_seconds, 0.0, math.nan)
    started = time.perf_counter()
    test = DistortedDigits(data.test_images, data.test_labels, cell.distortion)
    wrong = 0
    model.eval()
    with torch.no_grad():
        for images, labels in DataLoader(test, **(options | {"batch_size": 500})):
            wrong += int((model(images.to(device)).argmax(1).cpu() != labels).sum())
    seconds = time.perf_counter() - started
    return Usual(step_seconds, seconds, 100 * wrong / len(test))


def _endless(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
