"""The coordinator, its workers and the client: the only place where Ray lives."""
