"""The durable queue in SQLite: the only authority on which work is left. Needs no Ray or torch.

States of a cell: queued -> running -> succeeded | failed | cancelled; running -> queued when its
attempt is lost; any ended state -> queued by retry, rerun or force, with a new count of attempts.
"""
