"""Takes a SQL file apart exactly as psql does, so that what is rehearsed is what would be run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from rehearse.engines.postgres.command import Control, command_of, control_of, significant
from rehearse.engines.postgres.lexer import (
    Lines,
    Token,
    TokenKind,
    UnterminatedError,
    group_at,
    token_at,
    tokens,
)
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile

__all__ = ["Control", "SqlStatement", "split"]


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement, ready to be sent.

    `text` has neither its semicolon nor the comments around it; `line` (1-based) is where it begins in
    `file`, which differs from the file that was asked for where that includes others. `command` is as
    `command_of` says. `copy_data` are the lines that follow COPY ... FROM stdin, without the `\\.`.
    """

    text: str
    line: int
    command: str
    control: Control | None = None
    copy_data: str | None = None
    file: str = ""


def split(file: SqlFile) -> tuple[SqlStatement, ...]:
    """The statements of `file` and of those it includes, in order.

    `file.name` is its path: relative includes are looked up beside it. Raises SqlFileError for a quote
    or comment that never ends (with the line where it began), for a psql command that a rehearsal
    cannot obey, and for an include that cannot be read.
    """
    session = _Session()
    _Splitter(file, session, (Path(file.name).resolve(),)).run()
    return tuple(session.statements)


@dataclass(slots=True)
class _Session:
    """What lives longer than one file: variables, the string rule, and the statements so far."""

    statements: list[SqlStatement] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    standard_strings: bool = True


_COMMAND = re.compile(r"\\([A-Za-z_]+|\S)?")
_ARGUMENTS = re.compile(r"((?:'(?:[^'\\\r\n]|''|\\[^\r\n])*'|[^\\\r\n])*)(?:\\\\)?")
_COPY_END = re.compile(r"^\\\.\r?(?:\n|\Z)", re.MULTILINE)
_STANDARD_STRINGS = re.compile(
    r"SET\s+(?:SESSION\s+|LOCAL\s+)?standard_conforming_strings\s*(?:=|\bTO\b)\s*'?(\w+)'?\Z", re.IGNORECASE
)
# formatting and messages for a person at the terminal: nothing of it reaches the server
_HARMLESS = frozenset(
    {"restrict", "unrestrict", "echo", "qecho", "warn", "timing", "pset", "x", "a", "t", "f", "H", "C", "T"}
)
_WITH_ROWS = ["INSERT"]
_BLOCK_WORDS = frozenset({"BEGIN", "CASE", "END"})
_AS_IT_STANDS = {TokenKind.VARIABLE: TokenKind.SYMBOL}
# of psql's own variables, those that would change how the file is split or where transactions end
_DECISIVE = {"AUTOCOMMIT": "on", "SINGLELINE": "off", "SINGLESTEP": "off"}
_ON = frozenset({"on", "true", "yes", "1"})


class _Splitter:
    """One pass over one file."""

    def __init__(self, file: SqlFile, session: _Session, chain: tuple[Path, ...]) -> None:
        self._name = file.name
        self._text = file.text.removeprefix("\ufeff")
        self._lines = Lines(self._text)
        self._session = session
        self._chain = chain
        self._position = 0
        self._resume: tuple[int, int] | None = None  # a line's end -> what follows its COPY data
        self._start_afresh()

    def run(self) -> None:
        """Goes to the end of the file, or to its \\q."""
        while self._position < len(self._text):
            token = self._next()
            if token.is_symbol("\\"):
                if self._backslash(token) == "q":
                    break
                continue
            self._take(token, token.start)
        if self._tokens:
            self._finish()

    def _start_afresh(self) -> None:
        self._tokens: list[Token] = []
        self._start = 0
        self._parentheses = 0
        self._blocks = 0  # BEGIN ATOMIC and CASE that wait for their END
        self._words: list[str] = []

    def _next(self) -> Token:
        token = group_at(self._text, self._position) if self._words[:1] == _WITH_ROWS else None
        try:
            token = token or token_at(
                self._text, self._position, standard_strings=self._session.standard_strings
            )
        except UnterminatedError as error:
            raise self._error(error.start, f"{error.what} is never closed") from None
        if self._resume is not None and token.end > self._resume[0]:
            token = self._leap(token, *self._resume)
        self._position = max(self._position, token.end)
        return token

    def _leap(self, token: Token, line_end: int, after_data: int) -> Token:
        """COPY data begins on the next line: blanks that reach there are cut; reading goes on after."""
        if token.kind.significant and token.start < line_end:
            raise self._error(token.start, "this reaches into the data of the COPY before it")
        self._resume = None
        self._position = after_data
        return Token(TokenKind.SPACE, self._text[token.start : line_end], token.start)

    def _take(self, token: Token, origin: int) -> None:
        """`origin` is where the file has it, or the variable that it came from."""
        kind = token.kind
        if kind is TokenKind.VARIABLE:
            self._interpolate(token, origin)
            return
        if not self._tokens:
            if not token.kind.significant or token.is_symbol(";"):
                return
            self._start = origin
        elif token.is_symbol(";") and not self._parentheses and not self._blocks:
            self._finish()
            return
        self._tokens.append(token)
        if kind is TokenKind.SYMBOL:
            self._parentheses = max(0, self._parentheses + token.nesting)
        elif kind is TokenKind.WORD:
            self._count(token.upper)

    def _count(self, word: str) -> None:
        """psql's heuristic: a semicolon ends nothing inside the BEGIN ... END of a CREATE FUNCTION or
        PROCEDURE, where CASE has an END, too.
        """
        if len(self._words) < 4:
            self._words.append(word)
        if self._parentheses or word not in _BLOCK_WORDS or not _is_routine(self._words):
            return
        if word == "BEGIN" or (word == "CASE" and self._blocks):
            self._blocks += 1
        elif word == "END":
            self._blocks = max(0, self._blocks - 1)

    def _finish(self) -> None:
        found, line = self._tokens, self._lines.of(self._start)
        self._start_afresh()
        while not found[-1].kind.significant:
            found.pop()
        seen = significant(found)
        text = "".join(token.text for token in found)
        setting = _STANDARD_STRINGS.match(text)
        if setting:
            self._session.standard_strings = setting.group(1).lower() in _ON
        data = self._copy_data() if _copies_from_stdin(seen) else None
        self._session.statements.append(
            SqlStatement(text, line, command_of(seen), control_of(seen), data, self._name)
        )

    def _copy_data(self) -> str:
        """The lines after the current one up to `\\.`; the rest of the current line is read on its own."""
        line_end, after = self._resume or (self._text.find("\n", self._position), 0)
        if line_end < 0:
            return ""
        start = max(after, line_end + 1)
        end = _COPY_END.search(self._text, start)
        self._resume = (line_end, end.end() if end else len(self._text))
        return self._text[start : end.start() if end else len(self._text)]

    def _interpolate(self, token: Token, origin: int) -> None:
        """A variable that is set is read as if its value stood there; one that is not, as it stands."""
        name = token.text[1:].strip("'\"")
        if name not in self._session.variables:
            self._take(Token(TokenKind.SYMBOL, ":", token.start), origin)
            for rest in tokens(token.text[1:]):
                self._take(rest, origin)
            return
        value = _quoted(self._session.variables[name], token.text[1])
        try:
            inner = list(tokens(value, standard_strings=self._session.standard_strings))
        except UnterminatedError as error:
            raise self._error(origin, f"{error.what} in variable {name} is never closed") from None
        for part in inner:  # variables inside are not read again
            self._take(part._replace(kind=_AS_IT_STANDS.get(part.kind, part.kind)), origin)

    def _backslash(self, token: Token) -> str:
        """Obeys a psql command, and answers its name."""
        match = _COMMAND.match(self._text, token.start)
        assert match is not None, "it starts with a backslash"
        name = match.group(1) or ""
        rest = _ARGUMENTS.match(self._text, match.end())
        assert rest is not None, "it matches the empty string"
        self._position = rest.end()
        arguments = rest.group(1).strip()
        obey = self._obedience(name, arguments)
        if obey is None:
            raise self._error(token.start, f"\\{name} of psql is not supported", "take it out of the file")
        obey(token, arguments)
        return name

    def _obedience(self, name: str, arguments: str) -> Callable[[Token, str], None] | None:
        if name in _HARMLESS or name == "q":
            return lambda _token, _arguments: None
        if name == "encoding" and arguments.upper().replace("-", "").strip("'") in {"UTF8", "UNICODE", ""}:
            return lambda _token, _arguments: None
        known = {
            "set": self._set,
            "unset": self._unset,
            "i": self._include,
            "include": self._include,
            "ir": self._include_beside,
            "include_relative": self._include_beside,
            "g": self._send,
        }
        return None if name == "g" and arguments else known.get(name)

    def _send(self, token: Token, _arguments: str) -> None:
        if not self._tokens:
            raise self._error(token.start, "\\g after a semicolon would run the statement again")
        self._finish()

    def _set(self, token: Token, arguments: str) -> None:
        name, *values = self._words_of(token, arguments) or [""]
        value = "".join(values)
        wanted = _DECISIVE.get(name.upper())
        if wanted and (value.lower() in _ON) != (wanted == "on"):
            raise self._error(token.start, f"\\set {name} {value} is not supported", "write BEGIN and COMMIT")
        self._session.variables[name] = value

    def _unset(self, _token: Token, arguments: str) -> None:
        self._session.variables.pop(arguments, None)

    def _words_of(self, token: Token, arguments: str) -> list[str]:
        """Arguments as psql reads them: blanks part them, single quotes hold them together, variables
        are replaced.
        """
        found: list[str] = []
        for match in re.finditer(r"(?:'(?:[^'\\]|''|\\.)*'|\"[^\"]*\"|[^\s'\"])+", arguments):
            if "`" in match.group():
                raise self._error(token.start, "a command in backquotes is not supported")
            found.append("".join(self._argument(part) for part in _ARGUMENT_PARTS.findall(match.group())))
        return found

    def _argument(self, part: str) -> str:
        if part.startswith("'"):
            return re.sub(r"''|\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1) or "'"), part[1:-1])
        if part.startswith(":") and part[1:].strip("'\"") in self._session.variables:
            return _quoted(self._session.variables[part[1:].strip("'\"")], part[1])
        return part

    def _include(self, token: Token, arguments: str) -> None:
        """\\i: from the working directory as psql does, else beside the file that asks for it."""
        path = Path(self._path(token, arguments))
        self._read(token, path if path.is_file() else self._beside(path))

    def _include_beside(self, token: Token, arguments: str) -> None:
        """\\ir: beside the file that asks for it."""
        self._read(token, self._beside(Path(self._path(token, arguments))))

    def _beside(self, path: Path) -> Path:
        return Path(self._name).parent / path

    def _path(self, token: Token, arguments: str) -> str:
        found = self._words_of(token, arguments)
        if len(found) != 1:
            raise self._error(token.start, "an include needs one file name")
        return found[0]

    def _read(self, token: Token, path: Path) -> None:
        if path.resolve() in self._chain:
            raise self._error(token.start, f"{path} includes itself")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise self._error(token.start, f"{path} cannot be included: {reason}") from None
        included = SqlFile(str(path), text)
        _Splitter(included, self._session, (*self._chain, path.resolve())).run()

    def _error(self, offset: int, what: str, mend: str = "") -> SqlFileError:
        return SqlFileError(self._name, self._lines.of(offset), what, mend)


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ARGUMENT_PARTS = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"[^\"]*\"|:'\w+'|:\"\w+\"|:\w+|[^\s'\":]+|.")


def _quoted(value: str, quote: str) -> str:
    """`value` as a literal for `:'name'`, an identifier for `:"name"`, itself for `:name`."""
    if quote == "'":
        literal = "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"
        return f" E{literal}" if "\\" in value else literal
    return '"' + value.replace('"', '""') + '"' if quote == '"' else value


def _is_routine(words: list[str]) -> bool:
    """Whether a statement starts with CREATE [OR REPLACE] FUNCTION | PROCEDURE."""
    kind = words[3:4] if words[1:3] == ["OR", "REPLACE"] else words[1:2]
    return words[:1] == ["CREATE"] and kind in (["FUNCTION"], ["PROCEDURE"])


def _copies_from_stdin(seen: list[Token]) -> bool:
    """COPY ... FROM stdin, the words outside parentheses."""
    if seen[0].upper != "COPY":
        return False
    depth = 0
    for token, after in pairwise(seen):
        depth += token.nesting
        if depth == 0 and token.upper == "FROM":
            return after.upper == "STDIN"
    return False
