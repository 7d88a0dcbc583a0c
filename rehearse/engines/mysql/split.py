"""A SQL file taken apart into statements, as the `mysql` client does it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile

# What a delimiter does not count in: quoted text and names, and comments. `--` begins one only before white
# space; in `/*! ... */` stands SQL, which is sent as it is.
_OPAQUE = re.compile(
    r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`
        | \#[^\n]* | --(?=\s|$)[^\n]* | /\*.*?\*/""",
    re.VERBOSE | re.DOTALL,
)
_OPENING = r"""['"`#]|--(?=\s|$)|/\*"""
_BETWEEN = re.compile(r"(?:\s+|\#[^\n]*|--(?=\s|$)[^\n]*|/\*(?![!M+]).*?\*/)*", re.DOTALL)
_DELIMITER = re.compile(r"delimiter[ \t]+(\S+)[^\n]*", re.IGNORECASE)
_CLIENT_COMMAND = re.compile(r"\\[a-zA-Z.!#]|(?:source|system|tee|pager)\s+\S", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement without its delimiter, and the line of the file that it begins on."""

    text: str
    line: int


def split(file: SqlFile) -> tuple[SqlStatement, ...]:
    """The statements of `file`. Raises SqlFileError, naming the line, where a quotation does not end, and for
    commands of the client other than DELIMITER.
    """
    return tuple(_statements(file.name, file.text.lstrip("\ufeff")))


def _statements(name: str, text: str) -> Iterator[SqlStatement]:
    delimiter, place = ";", 0
    while True:
        begin = _begin(text, place)
        if begin == len(text):
            return
        command = _DELIMITER.match(text, begin)
        if command is not None:
            delimiter, place = command[1], command.end()
            continue
        line = text.count("\n", 0, begin) + 1
        refused = _CLIENT_COMMAND.match(text, begin)
        if refused is not None:
            said = f"a command of the mysql client: {refused[0].split()[0]}"
            raise SqlFileError(name, line, said, "of those only DELIMITER is known: give SQL")
        end = _end(name, text, begin, delimiter)
        if end > begin:  # an empty one is nothing
            yield SqlStatement(text[begin:end].strip(), line)
        place = end + len(delimiter)


def _begin(text: str, place: int) -> int:
    """Where the next statement begins: after white space and comments."""
    between = _BETWEEN.match(text, place)
    return between.end() if between else place


def _end(name: str, text: str, place: int, delimiter: str) -> int:
    """Where the delimiter of the statement that begins at `place` stands, or the text ends."""
    telling = re.compile(f"{re.escape(delimiter)}|{_OPENING}")
    while (found := telling.search(text, place)) is not None:
        if found[0] == delimiter:
            return found.start()
        opaque = _OPAQUE.match(text, found.start())
        if opaque is None:
            line = text.count("\n", 0, found.start()) + 1
            raise SqlFileError(name, line, "a quotation or a comment that does not end")
        place = opaque.end()
    return len(text)
