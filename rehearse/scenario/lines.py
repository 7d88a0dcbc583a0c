"""Where each key of a TOML text stands: `tomllib` gives the values but not their lines."""

from __future__ import annotations

import re
import tomllib

Loc = tuple[str | int, ...]
"""A key's path from the top: `("workload", "scripts", 0)`."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)


def key_lines(text: str) -> dict[Loc, int]:
    """The line (from 1) of every key, table header and array item of `text`, which must be valid TOML."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """Walks text that `tomllib` has accepted already, so it only needs to find where things begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Loc, int] = {}
        self._elements: dict[Loc, int] = {}  # last index of each array of tables

    def document(self) -> None:
        table: Loc = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(width=2)
            elif self.text.startswith("[", self.at):
                table = self._header(width=1)
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _mark(self, loc: Loc) -> None:
        self.lines.setdefault(loc, self.text.count("\n", 0, self.at) + 1)

    def _header(self, width: int) -> Loc:
        start = self.at
        self.at += width
        names = self._key()
        end = self.at + width
        self.at = start
        loc = self._resolve(names[:-1]) + names[-1:]
        if width == 2:
            self._mark(loc)
            self._elements[loc] = self._elements.get(loc, -1) + 1
        loc = self._resolve(names)
        self._mark(loc)
        self.at = end
        return loc

    def _resolve(self, names: Loc) -> Loc:
        """A header's path, with the index of the element it speaks of behind each array of tables."""
        loc: Loc = ()
        for name in names:
            loc = (*loc, name)
            if loc in self._elements:
                loc = (*loc, self._elements[loc])
        return loc

    def _pair(self, table: Loc) -> None:
        start = self.at
        names = self._key()
        after, self.at = self.at, start
        for length in range(1, len(names) + 1):
            self._mark(table + names[:length])
        self.at = after + 1  # the equals sign
        self._value(table + names)

    def _key(self) -> Loc:
        names: list[str] = []
        while True:
            self._skip(_INLINE_BLANK)
            start = self.at
            self._skip(_BARE)
            if self.at > start:
                names.append(self.text[start : self.at])
            else:
                names.append(_unquoted(self._string()))
            self._skip(_INLINE_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(names)
            self.at += 1

    def _string(self) -> str:
        start = self.at
        for pattern in _STRINGS:
            if self._skip(pattern) > start:
                break
        return self.text[start : self.at]

    def _value(self, loc: Loc) -> None:
        self._skip(_BLANK)
        self._mark(loc)
        opening = self.text[self.at : self.at + 1]
        if opening in ('"', "'"):
            self._string()
        elif opening == "[":
            self._items(loc)
        elif opening == "{":
            self._inline_table(loc)
        else:
            self._skip(_SCALAR)

    def _items(self, loc: Loc) -> None:
        index = 0
        while not self._closed("]"):
            self._value((*loc, index))
            index += 1

    def _inline_table(self, loc: Loc) -> None:
        while not self._closed("}"):
            self._pair(loc)

    def _closed(self, bracket: str) -> bool:
        """Step over the opening bracket or comma; tell whether the closing one follows (and step over it)."""
        if not self.text.startswith(bracket, self._skip(_BLANK)):
            self.at += 1
            self._skip(_BLANK)
        if self.text.startswith(bracket, self.at):
            self.at += 1
            return True
        return False


def _unquoted(raw: str) -> str:
    (name,) = tomllib.loads(f"{raw} = 0")
    return name
