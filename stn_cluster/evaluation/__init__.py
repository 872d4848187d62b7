"""Evaluations: what trained cells do on other distortions, severities and draws than their own.

The numbers alone: neither the queue nor the store knows of them here.
"""
