"""No-op trials through Ray Tune, as fast as its settings make it."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from ray import tune


class NoopTrainable(tune.Trainable):
    """Trial that ends after one step; an actor runs one trial after the other."""

    def step(self) -> dict[str, Any]:
        """Returns the only result."""
        return {"test_error": 0.0, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accepts any configuration, as it has no effect."""
        return True


def noop_function(config: dict[str, Any]) -> None:
    """No-op trial as a function."""
    tune.report({"test_error": 0.0})


class _Ends(tune.Callback):
    """Records the time at which each trial ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.times.append(time.perf_counter())


def run_trials(trainable: Any, count: int, concurrent: int, reuse: bool) -> tuple[float, float]:
    """Runs `count` trials.

    Args:
        trainable: `noop_function` or `NoopTrainable`.
        count: at least 2.
        concurrent: at a time, on a core each.
        reuse: whether an actor serves several trials.

    Returns:
        Seconds of it all; and from the end of the first trial to that of the last, which leaves out
        the start of actors.
    """
    ends = _Ends()
    final = tune.CheckpointConfig(checkpoint_at_end=False) if reuse else None
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"seed": tune.randint(0, 2**31)},
            tune_config=tune.TuneConfig(
                num_samples=count, max_concurrent_trials=concurrent, reuse_actors=reuse
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                callbacks=[ends],
                checkpoint_config=final,
                failure_config=tune.FailureConfig(fail_fast=True),
            ),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
    if results.num_errors or len(results) != count:
        raise RuntimeError(f"Tune ended {len(results)} of {count} trials, {results.errors}")
    return seconds, ends.times[-1] - ends.times[0]
