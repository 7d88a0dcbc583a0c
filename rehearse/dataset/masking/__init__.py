"""Anonymized snapshots: every column masked, streamed from COPY to COPY, and checked for leaks."""
