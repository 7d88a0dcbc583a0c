"""Conclude: a record and its samples in, findings and a verdict out; no clock, no I/O."""
