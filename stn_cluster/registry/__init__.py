"""Registry: built-in components and plug-ins by name, and the cells that a config resolves to."""

from stn_cluster.registry.components import (
    Entry,
    lookup,
    names,
    register_dataset,
    register_distortion,
    register_model,
    register_recipe,
    register_transform,
)
from stn_cluster.registry.plugins import load_plugins, plugin_path
from stn_cluster.registry.prepare import prepare_datasets
from stn_cluster.registry.resolve import (
    check_revisions,
    largest,
    parse_distortion,
    present_name,
    resolve,
    with_present_name,
)

__all__ = [
    "Entry",
    "check_revisions",
    "largest",
    "load_plugins",
    "lookup",
    "names",
    "parse_distortion",
    "plugin_path",
    "prepare_datasets",
    "present_name",
    "register_dataset",
    "register_distortion",
    "register_model",
    "register_recipe",
    "register_transform",
    "resolve",
    "with_present_name",
]
