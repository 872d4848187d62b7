"""docker/head.sh in processes of its own, with stand-ins for Ray and the service: which of them it
starts, what it tells them, and how it ends."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

HEAD_SCRIPT = Path(__file__).parents[3] / "docker" / "head.sh"

RAY = """#!/bin/sh
[ "$1" = health-check ] && exec test -e "$FOLDER/up"
echo "${STN_CLUSTER_TOKEN:-no token}${STN_CLUSTER_NOTIFY_SECRET:-}" > "$FOLDER/ray-token"
[ -e "$FOLDER/broken" ] && exit 1
trap 'touch "$FOLDER/ray-told"; exit 0' TERM
touch "$FOLDER/up"
while [ ! -e "$FOLDER/ray-dies" ]; do sleep 0.05; done
exit 7
"""
SERVE = """#!/bin/sh
echo "${STN_CLUSTER_TOKEN:-no token} $RAY_ADDRESS" > "$FOLDER/serve-said"
[ "$1" = wrong ] && exit 2
trap 'sleep 0.5; [ -e "$FOLDER/ray-told" ] || touch "$FOLDER/saved"; exit 0' TERM
touch "$FOLDER/serving"
[ "$1" = impatient ] && kill -TERM $PPID
while true; do sleep 0.05; done
"""


class Head:
    """Runs head.sh in a separate process group."""

    def __init__(
        self, folder: Path, serve: str = "serve", ray: str = RAY, **environment: str
    ) -> None:
        self.folder = folder
        for name, text in (("ray", ray), ("serve", SERVE)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        environment |= {"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": str(folder)}
        self.process = subprocess.Popen(
            [HEAD_SCRIPT, "ray start --head --block", serve],
            env=environment
            | {"STN_CLUSTER_TOKEN": "a token", "STN_CLUSTER_NOTIFY_SECRET": "a secret"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 20
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ended(self) -> int:
        try:
            return self.process.wait(20)
        finally:
            if self.process.returncode is None:
                os.killpg(self.process.pid, 9)


def test_head_ends_the_service_before_ray_when_told_to(tmp_path: Path) -> None:
    head = Head(tmp_path)
    head.wait_for("serving")
    head.process.terminate()
    time.sleep(0.1)
    head.process.terminate()  # impatience changes nothing
    assert head.ended() == 0
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "ray-told").exists()


def test_head_ends_the_service_that_it_has_only_just_started(tmp_path: Path) -> None:
    slow = tmp_path / "slow"  # between the service's start and the next line of the script
    slow.write_text("trap 'case $BASH_COMMAND in serve=?*) sleep 0.5 ;; esac' DEBUG\n")
    head = Head(tmp_path, "serve impatient", BASH_ENV=str(slow))
    assert head.ended() == 0
    assert (tmp_path / "saved").exists()


def test_head_gives_the_token_to_the_service_alone(tmp_path: Path) -> None:
    head = Head(tmp_path)
    head.wait_for("serving")
    head.process.terminate()
    assert head.ended() == 0
    assert (tmp_path / "ray-token").read_text() == "no token\n"
    assert (tmp_path / "serve-said").read_text() == "a token 127.0.0.1:6379\n"


def test_head_ends_as_the_service_does(tmp_path: Path) -> None:
    assert Head(tmp_path, "serve wrong").ended() == 2
    assert (tmp_path / "ray-told").exists()


def test_head_ends_when_ray_dies(tmp_path: Path) -> None:
    head = Head(tmp_path)
    head.wait_for("serving")
    (tmp_path / "ray-dies").touch()
    assert head.ended() == 1
    os.killpg(head.process.pid, 9)  # as the end of a container does
    assert "Ray has ended" in (head.process.stderr.read() if head.process.stderr else "")


def test_head_ends_when_ray_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    assert Head(tmp_path).ended() == 1
    assert not (tmp_path / "serve-said").exists()


def test_head_can_be_ended_while_ray_starts(tmp_path: Path) -> None:
    head = Head(tmp_path, ray=RAY.replace('touch "$FOLDER/up"', ""))  # never up
    head.wait_for("ray-token")
    head.process.terminate()
    assert head.ended() == 143
    assert not (tmp_path / "serve-said").exists()
