"""Puts tests/ on Python's path: benchmarks start Ray and servers with the tests' helpers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
