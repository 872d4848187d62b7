"""Registry: built-in components and plug-ins by name, and the cells that a config resolves to."""

from stn_cluster.registry.components import (
    CANVAS_PIXELS,
    KINDS,
    Entry,
    Kind,
    lookup,
    names,
    register_dataset,
    register_distortion,
    register_model,
    register_recipe,
    register_transform,
)
from stn_cluster.registry.plugin_bundles import changed_files, load_submitted, pack
from stn_cluster.registry.plugins import ClashError, known_plugin, load_plugins, loading
from stn_cluster.registry.prepare import prepare_datasets
from stn_cluster.registry.resolve import (
    check_revisions,
    largest,
    left_out,
    parse_distortion,
    present_name,
    resolve,
    with_present_name,
)

__all__ = [
    "CANVAS_PIXELS",
    "KINDS",
    "ClashError",
    "Entry",
    "Kind",
    "changed_files",
    "check_revisions",
    "known_plugin",
    "largest",
    "left_out",
    "load_plugins",
    "load_submitted",
    "loading",
    "lookup",
    "names",
    "pack",
    "parse_distortion",
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
