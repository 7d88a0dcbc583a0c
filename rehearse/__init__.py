"""Rehearse a schema migration under production-like load, and answer go or no-go with the evidence."""

__version__ = "0.1.0"
