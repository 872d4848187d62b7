"""The coordinator, its workers and its client: the only package that uses Ray."""
