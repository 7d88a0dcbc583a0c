"""`log_line_prefix` as a pattern for the lines that it begins."""

from __future__ import annotations

import re

from rehearse.errors import InputError

DEFAULT = "%m [%p] "
_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
# escape -> name of the group (empty: of no use here) and what it prints
_ESCAPES = {
    "a": ("application", r".*?"),
    "u": ("user", r".*?"),
    "d": ("database", r".*?"),
    "r": ("", r".*?"),
    "h": ("", r".*?"),
    "L": ("", r".*?"),
    "b": ("", r".*?"),
    "p": ("pid", r"\d+"),
    "P": ("", r"\d*"),
    "t": ("time", _STAMP + r" [^\s\]\),;|]+"),
    "m": ("time", _STAMP + r"\.\d{3} [^\s\]\),;|]+"),
    "n": ("epoch", r"\d+\.\d{3}"),
    "i": ("", r".*?"),
    "e": ("", r"[0-9A-Z]{5}"),
    "c": ("session", r"[0-9a-f]+\.[0-9a-f]+"),
    "l": ("number", r"\d+"),
    "s": ("", _STAMP + r" [^\s\]\),;|]+"),
    "v": ("", r"\S*?"),
    "x": ("", r"\d+"),
    "Q": ("", r"-?\d+"),
}
_PIECE = re.compile(r"%(-?\d*)([A-Za-z%])|([^%]+)|(%)")


def pattern_of(prefix: str) -> re.Pattern[str]:
    """The pattern of a whole line: groups `time` or `epoch`, `session` or `pid`, and where the prefix has
    them `number`, `user`, `database`, `application`; always `level` and `message`.

    Raises InputError where lines cannot be told apart by time and session.
    """
    pieces: list[str] = []
    named: set[str] = set()
    optional = 0
    for match in _PIECE.finditer(prefix):
        padding, escape, literal, _stray = match.groups()
        if literal is not None or escape is None:
            pieces.append(re.escape(literal or "%"))
        elif escape == "%":
            pieces.append("%")
        elif escape == "q":
            pieces.append("(?:")
            optional += 1
        else:
            pieces.append(_field(escape, padding, named))
    if not named & {"time", "epoch"} or not named & {"pid", "session"}:
        raise InputError(
            f"log_line_prefix {prefix!r} does not say when a line was written and by which session",
            "give the server's own with --log-line-prefix; it needs %m (or %t, %n) and %p (or %c)",
        )
    return re.compile("".join(pieces) + ")?" * optional + r"(?P<level>[A-Z]+[0-9]?):  (?P<message>.*)")


def _field(escape: str, padding: str, named: set[str]) -> str:
    if escape not in _ESCAPES:
        raise InputError(f"log_line_prefix has %{escape}, which PostgreSQL does not know")
    name, shape = _ESCAPES[escape]
    space = " *" if padding else ""
    if not name or name in named:
        return f"{space}(?:{shape}){space}"
    named.add(name)
    return f"{space}(?P<{name}>{shape}){space}"
