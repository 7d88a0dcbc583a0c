"""The server's primary message without the values that it quotes: they may be those of a row."""

from __future__ import annotations

import re

# Class 22 is about data: the message ends in, or begins with, the very value that was refused.
_DATA = "22"
# quotes within a value are not doubled, so that it ends where the words begin that follow one, or nowhere
_QUOTED = re.compile(r'(encoding "\w+")|".*"( is (?:out of range|not)\b[^"]*\Z)|".*', re.DOTALL)
# a server that speaks another language may have its quotes as well
_FOREIGN = re.compile("[«»„“”「『].*", re.DOTALL)


def without_values(sqlstate: str | None, message: str) -> str:
    """`invalid input syntax for type integer: "a name"` loses the name; others stay as they are."""
    if not (sqlstate or "").startswith(_DATA):
        return message
    plain = _QUOTED.sub(lambda match: match[1] or '"..."' + (match[2] or ""), message)
    return _FOREIGN.sub('"..."', plain)
