"""Metrics over all workers, and probes."""
