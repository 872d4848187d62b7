"""Whether a model fits its images is known from shapes alone, before anything starts."""

from __future__ import annotations

import pytest
import torch
from support.packs import make_cells
from torch import nn

from stn_cluster.cluster.preparation import check_components
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.registry.torchvision_names import torchvision_names
from stn_cluster.training.building import build_model
from stn_cluster.training.fit import check_fit
from stn_cluster.training.optimizers import make_optimizer

CLASSES = 5
LARGE = ("regnet_y_128gf", "vit_l_16", "vit_l_32")  # gigabytes: looked at without values only
# Of those whose architecture says something about the canvas, and of each kind.
REFUSED_AT_64 = {
    "inception_v3": "Kernel size can't be greater than actual input size",
    "maxvit_t": "not divisible by partition size 7",
    "vit_h_14": "Input shape indivisible by patch size",
}
SAMPLE = ("googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_32")


def a_cell(model: str, frame: int = 64, channels: int = 3, **recipe: object) -> Cell:
    [cell] = make_cells(models=[f"torchvision:{model}"], distortions=["R"], recipe=recipe)
    background = (0,) * channels
    info = DatasetInfo(frame=frame, channels=channels, n_classes=CLASSES, background=background)
    return cell.model_copy(update={"canvas": frame, "data": info})


def train_one_step(cell: Cell) -> None:
    """Builds, trains and tests the model, with real numbers."""
    torch.manual_seed(0)
    recipe = Recipe.model_validate(cell.settings)
    model = build_model(cell, recipe, CLASSES)
    images = torch.rand(4, cell.data.channels, cell.canvas, cell.canvas)
    optimizer = make_optimizer(model, recipe)
    optimizer.set_lr(0.01)
    optimizer.zero_grad()
    scores = model.train()(images)
    assert scores.shape == (4, CLASSES)
    nn.functional.cross_entropy(scores, torch.arange(4)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    with torch.no_grad():
        assert model.eval()(images[:1]).isfinite().all()


@pytest.mark.parametrize("model", SAMPLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_torchvisions_models_are_trained_on_64_pixels(model: str, channels: int) -> None:
    cell = a_cell(model, channels=channels)
    check_fit(cell, CLASSES)
    train_one_step(cell)


@pytest.mark.parametrize("model", REFUSED_AT_64)
def test_a_model_that_does_not_fit_is_refused_in_one_line(model: str) -> None:
    cell = a_cell(model)
    with pytest.raises(UserError) as raised:
        check_components([cell], None)
    line = str(raised.value)
    assert line.startswith(f"model 'torchvision:{model}' does not take images of 3x64x64 (digits,")
    assert REFUSED_AT_64[model] in line
    assert len(line.splitlines()) == 1


def test_a_batch_of_one_image_is_refused_where_batches_are_normalised() -> None:
    with pytest.raises(UserError, match=r"resnet18' does not train on batches of 1 images of 1x28"):
        check_fit(a_cell("resnet18", 28, 1, batch_size=1), CLASSES)
    check_fit(a_cell("resnet18", 28, 1, batch_size=2), CLASSES)


def test_looking_at_shapes_leaves_nothing_behind() -> None:
    check_fit(a_cell("squeezenet1_1"), CLASSES)
    assert nn.Linear(2, 2).weight.device.type == "cpu"


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_every_classifier_of_torchvision_is_trained_or_refused() -> None:
    models = [name.partition(":")[2] for name in torchvision_names()]
    assert len(models) >= 80
    for model in models:
        cell = a_cell(model)
        if model in REFUSED_AT_64:
            with pytest.raises(UserError, match=f"'torchvision:{model}' does not take images"):
                check_fit(cell, CLASSES)
            continue
        check_fit(cell, CLASSES)
        if model not in LARGE:
            train_one_step(cell)
