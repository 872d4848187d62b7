"""Entry point of `python -m stn_cluster.cli`."""

from stn_cluster.cli import main

main()
