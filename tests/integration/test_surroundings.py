"""A run in odd surroundings: what the environment says, and what the user's own code raises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLUGIN = """
from stn_cluster import register_dataset

@register_dataset("beside")
def load(root):
    from stn_cluster.data.digits import digits

    assert (root / "mine.txt").exists(), root  # in a worker, too, which has another working folder
    return digits()
"""
SCRIPT = """
import os
import sys
import stn_cluster

config = {"models": ["FCN"], "distortions": ["R"], "recipe": "smoke", "dataset": "beside"}
config["plugins"] = ["my_data"]

def fail(status):
    raise ZeroDivisionError("of the user's own")

try:
    stn_cluster.run_grid(config, store="~/here", watch=fail)
except ZeroDivisionError as error:
    print(error)
assert not sys.modules["ray"].is_initialized()
before = dict(os.environ)
seen = []
results = stn_cluster.run_grid(config, store="~/here", watch=seen.append)
assert list(results["status"]) == ["succeeded"], list(results["error"])
assert dict(os.environ) == before
print(len({status.job_id for status in seen}), len(list(os.scandir(before["STORE"] + "/jobs"))))
"""


def test_a_run_works_whatever_the_environment_says_and_resumes_after_the_users_error(
    tmp_path: Path,
) -> None:
    home, here, long = tmp_path / "a home", tmp_path / "here", tmp_path / ("long" * 20)
    for folder in (home, here / "data", long):
        folder.mkdir(parents=True)
    (here / "data" / "mine.txt").touch()
    (here / "my_data.py").write_text(PLUGIN)
    nobody = "http://127.0.0.1:9"  # the discard port: refused at once
    environment = {
        "HOME": str(home),
        "STORE": str(home / "here"),
        "TMPDIR": str(long),
        "RAY_ADDRESS": "192.0.2.1:6379",
        "RAY_AUTH_MODE": "token",
        "RAY_JOB_CONFIG_JSON_ENV_VAR": "{",
        "RAY_RUNTIME_ENV_HOOK": "no.such.hook",
        "RAY_TMPDIR": "/proc",
        "RAY_worker_register_timeout_seconds": "soon",
        **{f"{kind}_proxy": nobody for kind in ("http", "https", "all")},
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=here,
        timeout=240,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    # The second run was the first one's job again.
    assert done.stdout == "of the user's own\n1 1\n"
    left = {path.name.rpartition("-")[0] for path in long.iterdir()}
    assert left == {"stn-cluster", "stn-cluster-output"}  # plug-ins and logs; nothing of Ray's
    assert [path.name for path in home.iterdir()] == ["here"]  # and no token of Ray's
