"""Memory that a training step freed is used again without asking the kernel for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = 10
PROGRAM = """
import resource, sys, threading
import torch
from stn_cluster.stn.grids import AffineGrid
from stn_cluster.stn.models import Task, st_cnn
from stn_cluster.training.memory import keep_freed_memory

torch.set_num_threads(1)
model = st_cnn(Task(filters=32, transform=AffineGrid))
images = torch.rand(128, 1, 28, 28)

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        model(images).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work():
    faults(5)
    print(faults(int(sys.argv[1])))

keep_freed_memory()
threading.Thread(target=work).start()  # as a worker trains
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
def test_a_step_takes_hardly_a_page_from_the_kernel() -> None:
    command = [sys.executable, "-c", PROGRAM, str(STEPS)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert int(done.stdout) < 100 * STEPS  # without: some 2,000 a step
