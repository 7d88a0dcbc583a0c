"""Workloads out of what production left behind: server logs, statement statistics, the schema."""
