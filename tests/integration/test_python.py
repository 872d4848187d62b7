"""The Python API: the same results as with the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import stn_cluster

import ray._private.worker

printing = ray._private.worker.print_to_stdstream
seen = []
results = stn_cluster.run_grid(
    {"models": ["FCN", "CNN"], "distortions": ["R"], "recipe": "smoke", "name": "two"},
    store="here",
    workers=1,
    checkpoint_seconds=5,
    watch=seen.append,
)
assert list(results["label"]) == ["FCN/none/R/seed0", "CNN/none/R/seed0"], results
assert results.equals(stn_cluster.load_results("here"))
assert seen[-1].ended and len(seen[-1].cells) == 2
assert ray._private.worker.print_to_stdstream is printing  # the user's own Ray prints as before
table = stn_cluster.comparison_table("here")
assert list(table["test_error_mean"]) == list(results["test_error"])
assert list(table["reference_error"]) == [2.1, 1.2]
try:
    stn_cluster.run_grid({"models": ["CMN"]}, store="nowhere")
except stn_cluster.UserError as error:
    print(error)
"""


def test_run_grid_load_results_and_comparison_table_from_a_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "grid: unknown model 'CMN': did you mean 'CNN'? allowed: CNN, FCN, ST-CNN, ST-FCN, "
        "torchvision:NAME\n"
    )
    assert not (tmp_path / "nowhere").exists()
