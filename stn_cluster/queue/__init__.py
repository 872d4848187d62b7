"""The durable queue: the truth about work, in SQLite. Knows neither Ray nor torch.

States of a cell: queued -> running -> succeeded | failed | cancelled; running -> queued when its
attempt is lost; any ended state -> queued by retry, rerun or force, with a new count of attempts.
"""
