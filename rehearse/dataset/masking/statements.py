"""What people may have left in the statements that go with the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rehearse.engines.postgres.lexer import TokenKind, UnterminatedError, dollar_body, tokens

_TITLE = 80
_COMMENT = re.compile(r"(?:--|/\*)(.*)")


def title_of(statement: str) -> str:
    """The beginning of a statement, up to where it may quote a value."""
    return re.split(r"['$(]|\s(?:AS|DEFAULT|FOR VALUES)\s", " ".join(statement.split())[:_TITLE])[0].strip()


def texts_in(statement: str) -> Iterator[str]:
    """Literals and comments, line by line; of quoted names those of several words. Names of tables and
    columns are no values.
    """
    for line in statement.splitlines():
        yield from _quoted_in(line)
    yield from _continued(statement)


def _quoted_in(line: str) -> Iterator[str]:
    """A line by itself: an apostrophe without another one may be of any language's comment."""
    segments = line.split("'")
    yield from segments[1::2] if len(segments) % 2 else segments
    yield from (text for text in line.split('"')[1::2] if " " in text)
    if comment := _COMMENT.search(line):
        yield comment[1]


def _continued(sql: str) -> Iterator[str]:
    """The lines of what goes over several: in these no quote need stand."""
    try:
        for token in tokens(sql):
            body = dollar_body(token)
            if body is not None:
                yield from _continued(body)
            elif token.kind in {TokenKind.STRING, TokenKind.COMMENT} and "\n" in token.text:
                yield from token.text.splitlines()
    except UnterminatedError:
        return  # the body of a function that is not SQL
