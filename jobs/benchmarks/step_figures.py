"""A single training step on an already distorted batch: ours and the usual loop's, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from usual_loop import usual_model, usual_optimizer

from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.training.building import build_model
from stn_cluster.training.optimizers import make_optimizer

Config = dict[str, Any]


def compare_steps(config: Config, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of forward, backward and update, ours and the usual, in turns; on one thread."""
    torch.set_num_threads(1)
    peak = matmul_rate(device)
    cells = resolve(parse_config(config | {"distortions": ["R", "RTS"]}))
    return {"matmul_flops": peak, "cells": [_compare_step(c, device, repeats, peak) for c in cells]}


def _compare_step(cell: Cell, device: str, repeats: int, peak: float) -> dict[str, Any]:
    recipe = Recipe.model_validate(cell.settings)
    images = torch.rand(recipe.batch_size, 1, cell.canvas, cell.canvas, device=device)
    labels = torch.randint(10, (recipe.batch_size,), device=device)
    ours, usual = build_model(cell, recipe, 10).to(device), usual_model(cell).to(device)
    assert count(ours) == count(usual)
    our_optimizer, their_optimizer = make_optimizer(ours, recipe), usual_optimizer(usual, recipe)

    def our_step() -> None:
        our_optimizer.set_lr(1e-3)
        our_optimizer.zero_grad()
        F.cross_entropy(ours(images), labels).backward()
        our_optimizer.step()

    def usual_step() -> None:
        their_optimizer.zero_grad()
        F.cross_entropy(usual(images), labels).backward()
        their_optimizer.step()

    with FlopCounterMode(display=False) as flops:
        usual_step()
    for step in (our_step, usual_step) * 2:
        step()
    pairs = [(seconds(our_step, device), seconds(usual_step, device)) for _ in range(repeats)]
    our_seconds = median(mine for mine, _ in pairs)
    return {
        "cell": f"{cell.model} {cell.transform} {cell.distortion}",
        "ours": our_seconds,
        "usual": median(theirs for _, theirs in pairs),
        "ratio": median(mine / theirs for mine, theirs in pairs),
        "flops": flops.get_total_flops(),
        "share_of_matmul": flops.get_total_flops() / our_seconds / peak,
    }


def matmul_rate(device: str, edge: int = 1024) -> float:
    """Floating-point operations a second of a square float32 product; the median of 15."""
    if device == "cuda":
        edge *= 8
    a = torch.rand(edge, edge, device=device)
    out = torch.empty_like(a)
    times = [seconds(lambda: torch.mm(a, a, out=out), device) for _ in range(17)][2:]
    return 2 * edge**3 / median(times)


def seconds(work: Callable[[], object], device: str) -> float:
    """Duration of a call, including the device's work."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def count(model: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
