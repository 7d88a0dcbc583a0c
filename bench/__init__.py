"""Benchmarks: us beside our peers, on one server in one run."""
