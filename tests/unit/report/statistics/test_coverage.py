"""How often intervals cover the truth and tests err, by simulation: short here, long as chaos.

The long runs print the figures of docs/statistics.md; `-s` shows them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.trials import ERRORS, draw_wrong

from stn_cluster.report.statistics.all_pairs import Pairs, pairs_of_methods, pairs_of_networks
from stn_cluster.report.statistics.intervals import networks_error
from stn_cluster.report.statistics.methods import compare_methods, method_error
from stn_cluster.report.statistics.multiple import holm
from stn_cluster.report.statistics.paired import compare_networks

# Shares of the variance: of the image, of the seed. MNIST's store is like the second one.
SETTINGS = ((0.8, 0.0), (0.8, 0.002), (0.8, 0.02), (0.5, 0.1))


def rate(trial: Callable[[np.random.Generator], bool], trials: int, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([trial(rng) for _ in range(trials)]))


def networks_coverage(trials: int, images: int, repeats: int) -> tuple[float, float]:
    """Coverage of an error and of a difference, averaged over true errors.

    A trained network is a fixed classifier: its seed has no part in what is drawn.
    """

    def one(error: float) -> Callable[[np.random.Generator], bool]:
        def trial(rng: np.random.Generator) -> bool:
            return error in networks_error(
                draw_wrong(rng, [error], repeats=repeats, images=images)[0]
            )

        return trial

    def two(error: float) -> Callable[[np.random.Generator], bool]:
        def trial(rng: np.random.Generator) -> bool:
            a, b = draw_wrong(rng, [error, 1.3 * error], repeats=repeats, images=images)
            return 0.3 * error in compare_networks(a, b).interval

        return trial

    single = [rate(one(error), trials) for error in ERRORS]
    pairs = [rate(two(error), trials) for error in ERRORS]
    print(f"networks, {images} images x {repeats}: error {single}, difference {pairs}")
    return float(np.mean(single)), float(np.mean(pairs))


def methods_coverage(
    trials: int, images: int, repeats: int, of_images: float, of_seeds: float
) -> tuple[float, float]:
    """Coverage of a method's error and of a difference of methods with three seeds."""
    shape = {"seeds": 3, "repeats": repeats, "images": images}
    shares = {"of_images": of_images, "of_seeds": of_seeds}

    def one(error: float) -> Callable[[np.random.Generator], bool]:
        def trial(rng: np.random.Generator) -> bool:
            return error in method_error(draw_wrong(rng, [error], **shape, **shares)[0])

        return trial

    def two(error: float) -> Callable[[np.random.Generator], bool]:
        def trial(rng: np.random.Generator) -> bool:
            a, b = draw_wrong(rng, [error, 1.3 * error], **shape, **shares)
            return 0.3 * error in compare_methods(a, b).interval

        return trial

    single = [rate(one(error), trials) for error in ERRORS]
    pairs = [rate(two(error), trials) for error in ERRORS]
    print(f"methods, {images} x {repeats}, {shares}: error {single}, difference {pairs}")
    return float(np.mean(single)), float(np.mean(pairs))


def familywise_error(
    trials: int, pairs_of: Callable[..., Pairs], columns: int = 4, **drawn: float
) -> float:
    """How often Holm's correction rejects anything where all of 8 rows are alike."""

    def trial(rng: np.random.Generator) -> bool:
        rows = [draw_wrong(rng, [0.02] * 8, **drawn) for _ in range(columns)]  # type: ignore[arg-type]
        p = np.concatenate([pairs_of(list(one)).p for one in rows])
        return bool(holm(p).min() <= 0.05)

    found = rate(trial, trials)
    print(f"familywise error, {drawn}: {found}")
    return found


def test_intervals_of_trained_networks_cover() -> None:
    for found in networks_coverage(150, images=2000, repeats=1):
        assert 0.92 <= found <= 0.98


def test_intervals_of_trained_networks_cover_with_several_versions_of_an_image() -> None:
    for found in networks_coverage(100, images=360, repeats=10):
        assert 0.91 <= found <= 0.99


def test_intervals_of_methods_with_three_seeds_cover() -> None:
    for found in methods_coverage(60, images=1000, repeats=1, of_images=0.8, of_seeds=0.02):
        assert found >= 0.93


def test_holms_correction_errs_seldom_where_all_are_alike() -> None:
    drawn = {"images": 500, "shared": 0.5}
    assert familywise_error(60, pairs_of_networks, columns=1, **drawn) <= 0.1
    assert familywise_error(30, pairs_of_methods, columns=1, seeds=3, of_seeds=0.02, **drawn) <= 0.1


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("images", "repeats"), [(10_000, 1), (2000, 1), (360, 10)])
def test_intervals_of_trained_networks_cover_94_to_96_percent(images: int, repeats: int) -> None:
    single, pairs = networks_coverage(4000, images, repeats)
    assert 0.94 <= single <= 0.96
    assert 0.94 <= pairs <= 0.96


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("of_images", "of_seeds"), SETTINGS)
@pytest.mark.parametrize(("images", "repeats"), [(10_000, 1), (360, 10)])
def test_intervals_of_methods_cover_at_least_93_percent(
    images: int, repeats: int, of_images: float, of_seeds: float
) -> None:
    for found in methods_coverage(500, images, repeats, of_images, of_seeds):
        assert found >= 0.93


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shared", [0.9, 0.5])
def test_holms_familywise_error_is_at_most_5_and_a_half_percent(shared: float) -> None:
    drawn = {"images": 1000, "shared": shared}
    assert familywise_error(2000, pairs_of_networks, **drawn) <= 0.055
    for of_images, of_seeds in SETTINGS:
        shares = {"of_images": of_images, "of_seeds": of_seeds}
        assert familywise_error(1000, pairs_of_methods, seeds=3, **shares, **drawn) <= 0.055
