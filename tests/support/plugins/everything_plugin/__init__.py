"""A plug-in for tests, as a package: a component of every kind, over several files."""

from everything_plugin import networks, tasks

__all__ = ["networks", "tasks"]
