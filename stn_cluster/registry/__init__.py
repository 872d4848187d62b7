"""Registry: built-in components and plug-ins by name, and the cells that a config resolves to."""

from stn_cluster.registry.chosen_models import check_weights, with_present_weights
from stn_cluster.registry.components import (
    KINDS,
    Entry,
    Kind,
    find,
    lookup,
    names,
    register_dataset,
    register_distortion,
    register_model,
    register_recipe,
    register_transform,
)
from stn_cluster.registry.dataset_lookup import (
    DEFAULT_ROOT,
    FoundDataset,
    check_dataset,
    describe_dataset,
    find_dataset,
    found_dataset,
)
from stn_cluster.registry.import_finder import opened_files
from stn_cluster.registry.plugin_bundles import changed_files, load_submitted, pack
from stn_cluster.registry.plugins import ClashError, known_plugin, load_plugins, loading
from stn_cluster.registry.prepare import prepare_datasets
from stn_cluster.registry.resolve import (
    check_revisions,
    check_size,
    left_out,
    parse_distortion,
    present_name,
    resolve,
    with_present_name,
)
from stn_cluster.registry.torchvision_names import PREFIX as TORCHVISION
from stn_cluster.registry.torchvision_names import is_torchvision, torchvision_names

__all__ = [
    "DEFAULT_ROOT",
    "KINDS",
    "TORCHVISION",
    "ClashError",
    "Entry",
    "FoundDataset",
    "Kind",
    "changed_files",
    "check_dataset",
    "check_revisions",
    "check_size",
    "check_weights",
    "describe_dataset",
    "find",
    "find_dataset",
    "found_dataset",
    "is_torchvision",
    "known_plugin",
    "left_out",
    "load_plugins",
    "load_submitted",
    "loading",
    "lookup",
    "names",
    "opened_files",
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
    "torchvision_names",
    "with_present_name",
    "with_present_weights",
]
