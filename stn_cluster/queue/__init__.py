"""The durable queue: the truth about work, in SQLite. Knows neither Ray nor torch.

States of a cell: queued -> running -> succeeded | failed | cancelled; running -> queued when its
attempt is lost; any ended state -> queued by retry, rerun or force, with a new count of attempts.
"""

from stn_cluster.queue.claim import Claim, Demand
from stn_cluster.queue.database import FILE, QueueError
from stn_cluster.queue.facade import Queue
from stn_cluster.queue.finish import (
    MAX_ATTEMPTS,
    MAX_NODE_LOSSES,
    ExitReason,
    Loss,
    Spent,
)
from stn_cluster.queue.queries import AttemptRow

__all__ = [
    "FILE",
    "MAX_ATTEMPTS",
    "MAX_NODE_LOSSES",
    "AttemptRow",
    "Claim",
    "Demand",
    "ExitReason",
    "Loss",
    "Queue",
    "QueueError",
    "Spent",
]
