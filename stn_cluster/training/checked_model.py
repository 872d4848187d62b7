"""A cell's model, called so that its scores are checked and what others share stays unchanged."""

from __future__ import annotations

from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from stn_cluster.data.checked_distortion import described
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup

COMPARED_STEPS = 3  # training steps after which the images are compared with those given


def component_of(cell: Cell) -> tuple[str, bool]:
    """Name of a cell's model in errors, and whether there is code of a plug-in in it."""
    model, transform = lookup("model", cell.model), lookup("transform", cell.transform)
    name = f"model {cell.model!r}"
    if transform.plugin is not None:
        name += f" with transform {cell.transform!r}"
    return name, bool(model.plugin or transform.plugin)


class CheckedModel:
    """Calls a model.

    Args:
        model: the cell's network.
        name: its name in errors, as in "model 'LeNet'".
        n_classes: number of scores of each image.
        user_code: whether a plug-in's code is in it: then it is given copies, and whether it
            writes into them is noticed.
        device: the device that it computes on.
    """

    def __init__(
        self, model: nn.Module, name: str, n_classes: int, user_code: bool, device: torch.device
    ) -> None:
        self.module = model
        self.name = name
        self._n_classes = n_classes
        self._user_code = user_code
        self._comparisons = COMPARED_STEPS
        # Whether it has written into images, in training mode and in evaluation mode.
        self._written = {
            training: torch.zeros((), dtype=torch.bool, device=device) for training in (True, False)
        }

    def __call__(self, images: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, 1, canvas, canvas).

        It reads nothing back from the device, so that a CUDA graph can repeat it.

        Raises:
            UserError: the model gave something else, or wrote into the images.
        """
        if not self._user_code:
            return self._checked(self.module(images), images)
        given = images.clone()
        version = given._version
        scores = self.module(given)
        same_form = given.shape == images.shape and given.dtype == images.dtype
        if given._version != version or not same_form:
            raise self._write_error(self.module.training)
        # The version does not count what is written through `.data` or a NumPy array. It is looked
        # at where that takes no time: nobody else has the copy.
        if self._comparisons > 0 or not self.module.training:
            self._comparisons -= self.module.training
            self._compare(given, images)
        return self._checked(scores, given)

    def _compare(self, given: Tensor, images: Tensor) -> None:
        # As bits: NaN differs from itself.
        differ = given.detach().view(torch.int32) != images.view(torch.int32)
        self._written[self.module.training].logical_or_(differ.any())

    def check_images(self, training: bool) -> None:
        """Raises UserError if the model wrote into images in this mode; waits for the device."""
        if self._user_code and bool(self._written[training]):
            raise self._write_error(training)

    def _write_error(self, training: bool) -> UserError:
        which = "a training batch" if training else "the images of the test set"
        return UserError(
            f"{self.name} changed {which}, which other cells share, by an operation in place: "
            "work on a copy (`images.clone()`)"
        )

    def _checked(self, scores: object, images: Tensor) -> Tensor:
        shape = (len(images), self._n_classes)
        if (
            not isinstance(scores, Tensor)
            or scores.shape != shape
            or not scores.is_floating_point()
            or scores.device != images.device
        ):
            raise UserError(
                f"{self.name} gave {described(scores)}; expected scores {shape}, floating point, "
                f"on {images.device.type}: one for each image and class"
            )
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise UserError(
                f"{self.name} gave scores without a gradient: no trainable parameter takes part"
            )
        return scores


# Parameters of the models that this process has built, while they exist.
_built: WeakValueDictionary[int, Tensor] = WeakValueDictionary()


def give_own_weights(model: object, name: str) -> None:
    """Makes a plug-in's model independent of all others that the plug-in has built.

    Buffers are copied: several models may have been given a constant of the plug-in's module.

    Raises:
        UserError: a parameter is another cell's too, or it is no module.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} gave {described(model)}, not a torch.nn.Module")
    for where, parameter in model.named_parameters():
        if _built.get(id(parameter)) is parameter:
            raise UserError(
                f"{name} gave a cell the weights of another one ({where}): build every module "
                "within the function, or give a `copy.deepcopy` of it"
            )
    _built.update({id(parameter): parameter for parameter in model.parameters()})
    copies: dict[int, Tensor] = {}  # one of each buffer, which several modules may share
    for module in model.modules():
        for own, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[own] = copies.setdefault(id(buffer), buffer.clone())
