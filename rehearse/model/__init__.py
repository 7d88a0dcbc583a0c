"""The nouns of a rehearsal: frozen, slotted dataclasses and enums on the standard library alone.

Times are integer nanoseconds on the machine's monotonic clock and end in `_ns`; sizes end in `_bytes`.
"""
