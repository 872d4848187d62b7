"""Stores that cannot be used: named in one clear line with exit code 2, and left as they were."""
