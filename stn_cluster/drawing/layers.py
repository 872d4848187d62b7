"""The layers of one network, and what each makes of a drawing."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cluster.dataset_info import WHITE
from stn_cluster.drawing.answers import numbers, rounded
from stn_cluster.drawing.drawn_image import as_frame, decode
from stn_cluster.drawing.hand_distortion import distort_by_hand
from stn_cluster.drawing.kept_networks import network
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import UserError
from stn_cluster.stn.classifiers import CNN, FCN
from stn_cluster.stn.convolution import ConvPool2d
from stn_cluster.stn.transformer import SpatialTransformer

MOST_LAYERS = 40  # of a network of another kind
MOST_MAPS = 64  # of a layer that are drawn


@dataclass(frozen=True)
class Field:
    """Pixels that a unit sees: those from start + r * stride on, `size` of them, each way."""

    size: int = 1
    stride: int = 1
    start: int = 0

    def through(self, kernel: int, stride: int) -> Field:
        """Field of the units of a layer that follows."""
        return Field(self.size + (kernel - 1) * self.stride, self.stride * stride, self.start)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's activations for one image."""

    name: str
    values: Tensor  # (maps, H, W) or (units,); (rows, columns, 2) of a grid
    kind: str = "images"  # images, vector or grid
    field: Field | None = None  # in pixels of `sees`
    sees: str = "input layer"  # the layer that the field is of


def draw_layers(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """JSON of the layers of one network for a drawing.

    Args:
        workplace: its store.
        request: as for `draw`, with one key.

    Raises:
        UserError: see `draw`; there is no such cell, or its weights are not here.
    """
    one = network(workplace, request["key"])
    if one.cell.dataset != request["dataset"]:
        raise UserError(f"key: {one.cell.label} is of the data set {one.cell.dataset}", "key")
    drawing = as_frame(decode(request), request["dataset"], one.cell.data)
    image = distort_by_hand(drawing, one.cell, request["distort"])
    with torch.inference_mode():
        numbers(one, one.model(image))
    layers = [_as_json(layer) for layer in layers_of(one.model, image)]
    return json.dumps({"layers": layers}).encode()


@torch.inference_mode()
def layers_of(model: nn.Module, image: Tensor) -> list[Layer]:
    """Layers of a network in the order of their computation, from the input to the scores.

    Those of the paper's networks have the names of the slides; of others, each module that gives
    maps or units has its own name.

    Args:
        model: the network, in evaluation mode.
        image: (1, C, H, W) of 0 to 1.
    """
    given = Layer("input layer", image[0], field=Field())
    parts = list(model.children()) if isinstance(model, nn.Sequential) else []
    plain = model if isinstance(model, CNN | FCN) else parts[-1] if parts else None
    if not isinstance(plain, CNN | FCN):
        return [given, *_of_modules(model, image)]
    layers, sees = [given], given.name
    if model is not plain:
        for part in parts[:-1]:
            if isinstance(part, SpatialTransformer):
                layers += _of_transformer(part, image)
            image = part(image)
        sees = "transformer's output"
        layers.append(Layer(sees, image[0], field=Field(), sees=sees))
    return layers + list(_of_classifier(plain, image, sees))


def _of_transformer(layer: SpatialTransformer, image: Tensor) -> list[Layer]:
    """The localisation net, theta, and the grid."""
    found = [
        replace(one, name=f"localisation net, {one.name}")
        for one in _of_parts(_sequence(layer.localisation), image, "input layer")
    ]
    seen = layer(image, details=True)
    found.append(Layer("localisation net, theta", seen.theta[0], kind="vector"))
    found.append(Layer("grid", seen.grid[0], kind="grid"))
    return found


def _of_classifier(model: CNN | FCN, image: Tensor, sees: str) -> Iterator[Layer]:
    hidden = list((model.features if isinstance(model, CNN) else model).children())
    yield from _of_parts(hidden if isinstance(model, CNN) else hidden[:-1], image, sees)
    scores = model(image)[0].float()
    yield Layer("output layer", scores.softmax(0), kind="vector")


def _sequence(module: nn.Module) -> list[nn.Module]:
    return list(module.children()) if isinstance(module, nn.Sequential) else [module]


def _of_parts(sequence: Sequence[nn.Module], image: Tensor, sees: str) -> Iterator[Layer]:
    """Convolutions, poolings and fully connected layers of modules in sequence."""
    names = _Names()
    field: Field | None = Field()
    for index, part in enumerate(sequence):
        follows = sequence[index + 1] if index + 1 < len(sequence) else None
        if isinstance(part, ConvPool2d) and field is not None:
            (kernel, _), before = part.kernel_size, field
            scores = F.conv2d(image, part.weight, part.bias).relu()
            field = before.through(kernel, 1)
            yield Layer(names("convolution layer"), scores[0], field=field, sees=sees)
            image = part(image)
            field = field.through(2, 2)
            yield Layer(names("downsampling layer"), image[0], field=field, sees=sees)
            continue
        image = part(image)
        if isinstance(part, nn.Conv2d) and field is not None:
            field = field.through(part.kernel_size[0], 1)
            shown = image.relu() if isinstance(follows, nn.ReLU) else image
            yield Layer(names("convolution layer"), shown[0], field=field, sees=sees)
        elif isinstance(part, nn.AvgPool2d) and field is not None:
            field = field.through(2, 2)
            yield Layer(names("downsampling layer"), image[0], field=field, sees=sees)
        elif isinstance(part, nn.Linear):
            shown = image if follows is None or isinstance(follows, nn.Linear) else follows(image)
            field = None
            yield Layer(names("fully connected layer"), shown[0], kind="vector")


class _Names:
    """Numbers the layers of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __call__(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind} {self._counts[kind]}"


def _of_modules(model: nn.Module, image: Tensor) -> list[Layer]:
    """Maps and units that each innermost module of any network gives."""
    found: list[Layer] = []

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or len(output) != 1 or len(found) >= MOST_LAYERS:
                return
            if output.ndim == 4:
                found.append(Layer(name, output[0].float()))
            elif output.ndim == 2:
                found.append(Layer(name, output[0].float(), kind="vector"))

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    try:
        scores = model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [*found, Layer("output layer", scores[0].float().softmax(0), kind="vector")]


def _as_json(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = {"name": layer.name, "kind": layer.kind}
    if layer.kind == "grid":
        points = rounded(layer.values.reshape(-1, 2))
        return found | {"shape": list(layer.values.shape[:2]), "points": points}
    values = layer.values[:MOST_MAPS] if layer.kind == "images" else layer.values
    values = values.float().nan_to_num()
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-12)
    content = (WHITE * scaled).round().clamp(0, WHITE).to(torch.uint8).contiguous()
    field = layer.field
    return found | {
        "shape": list(values.shape),
        "maps": len(layer.values) if layer.kind == "images" else None,
        "low": low,
        "high": high,
        "pixels": base64.b64encode(content.numpy().tobytes()).decode(),
        "receptive": None if field is None else {**field.__dict__, "of": layer.sees},
    }
