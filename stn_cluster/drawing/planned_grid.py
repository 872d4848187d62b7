"""The plan of a config, before it is submitted: test sets and a calibration need PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stn_cluster.config_file import parse_yaml
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import UserError
from stn_cluster.planning.plan import plan_grid
from stn_cluster.planning.plan_text import plan_fields, plan_lines
from stn_cluster.registry import check_size, left_out, resolve


def plan_config(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """JSON of the config that a YAML text is, and of its plan.

    Args:
        workplace: its store.
        request: yaml; workers, or None.

    Raises:
        UserError: the config is wrong; the message names the field.
    """
    config = parse_yaml(request["yaml"])
    if config.plugins:
        raise UserError("config: plugins: only the server names plug-ins", "plugins")
    check_size(config)
    cells = resolve(config, workplace.data_root)
    root = workplace.data_root
    plan = plan_grid(cells, workplace.store.uri, workers=request["workers"], data_root=root)
    fields = plan_fields(plan) | {"lines": plan_lines(plan), "left_out": left_out(config)}
    fields["config"] = config.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(fields).encode()
