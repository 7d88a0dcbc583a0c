"""The nearest valid spelling of a name nobody knows, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The closest of `valid` to `name`, if any is close."""
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(name: str, valid: Iterable[str], *, otherwise: str = "one of") -> str:
    """A mend: `did you mean ...?`, or all that is valid where nothing is close."""
    choices = list(valid)
    found = nearest(name, choices)
    if found is not None:
        return f"did you mean `{found}`?"
    return f"{otherwise} " + ", ".join(f"`{choice}`" for choice in choices)
