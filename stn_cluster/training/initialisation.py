"""Initial weights other than PyTorch's own."""

from __future__ import annotations

import torch
from torch import nn

from stn_cluster.stn.transformer import SpatialTransformer


@torch.no_grad()
def initialise_he(model: nn.Module) -> None:
    """Draws new weights for all convolutions and linear layers; their biases become 0.

    With PyTorch's initialisation, the signal shrinks from layer to layer and the biases do not, so
    that up to a third of a localisation net's units never fire. He et al. 2015 keep the signal's
    variance. Layers that compute theta are not changed: a transformer starts as the identity.
    """
    transformers = [m for m in model.modules() if isinstance(m, SpatialTransformer)]
    placing = {transformer.theta for transformer in transformers}
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer not in placing:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
