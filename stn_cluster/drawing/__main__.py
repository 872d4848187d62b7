"""The process that draws: it answers one request after the other, and ends when it is idle."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from stn_cluster.drawing.process import ANSWER, FAULT, REFUSAL, REFUSALS
from stn_cluster.drawing.remembered_store import RememberedStore
from stn_cluster.drawing.tasks import Workplace, function_of
from stn_cluster.errors import UserError, error_line
from stn_cluster.registry import load_plugins

IDLE_SECONDS = 600.0
LONGEST_SECONDS = 300  # of a task, or of the start, should everything hang
LOOK_SECONDS = 1.0  # time between looks whether the server still runs


def main(descriptor: int) -> None:
    """Answers until the server hangs up, or nothing was asked for a while."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    signal.alarm(LONGEST_SECONDS)
    import torch

    torch.set_num_threads(1)
    connection = Connection(descriptor)
    given = json.loads(connection.recv_bytes())
    root = given["data_root"]
    load_plugins(tuple(given["plugins"]))
    store = RememberedStore.open(given["store"])
    workplace = Workplace(store, None if root is None else Path(root))
    signal.alarm(0)
    try:
        while connection.poll(IDLE_SECONDS):
            message = connection.recv_bytes()
            signal.alarm(LONGEST_SECONDS)
            connection.send_bytes(_reply(workplace, message))
            signal.alarm(0)
    except (EOFError, OSError):  # the server has ended
        return


def _end_with(server: int) -> None:
    """Ends this process once its server is gone, which may have been killed during a task."""
    while os.getppid() == server:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def _reply(workplace: Workplace, message: bytes) -> bytes:
    asked = json.loads(message)
    try:
        workplace.store.look()
        return ANSWER + function_of(asked["task"])(workplace, asked["request"])
    except UserError as error:
        kind = next(name for name, one in REFUSALS.items() if isinstance(error, one))
        refusal = {"kind": kind, "message": str(error), "field": error.field}
        return REFUSAL + json.dumps(refusal).encode()
    except Exception as error:  # user code may raise whatever it likes
        traceback.print_exc()
        line = error_line("".join(traceback.format_exception(error)))
        return FAULT + json.dumps({"message": line}).encode()


main(int(sys.argv[1]))
