"""A server's settings as exported: postgresql.conf, or `pg_settings` as CSV or JSON. Pure."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from io import StringIO

from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile

Pairs = tuple[tuple[str, str], ...]

# As PostgreSQL's own scanner reads a line of it: a name, an optional `=`, a bare or a quoted value.
_LINE = re.compile(
    r"""\s*(?P<name>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff.]*)\s*=?\s*
        (?:'(?P<quoted>(?:[^'\\\n]|\\.|'')*)'|(?P<bare>[^\s'\#]+))\s*(?:\#.*)?""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)|''")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WHOLE = re.compile(r"-?\d+")
_UNIT = re.compile(r"(\d*)(B|kB|MB|GB|ms|s|min)")
_EXPORT = "export it by: COPY (SELECT name, setting, unit FROM pg_settings) TO STDOUT (FORMAT csv, HEADER)"


def parse_settings(file: SqlFile) -> Pairs:
    """Names in lower case with their values; of a name given twice the last counts, as for the server.

    Raises SqlFileError, naming the line, where `file` is none of the formats. Lines that are not
    understood are not quoted: they may hold a password.
    """
    text = file.text.lstrip("\ufeff")
    if text.lstrip().startswith(("[", "{")):
        pairs = _from_json(file.name, text)
    elif _is_csv(text):
        pairs = _from_csv(file.name, text)
    else:
        pairs = _from_conf(file.name, text)
    return tuple({name.lower(): value for name, value in pairs}.items())


def _from_conf(name: str, text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SqlFileError(name, number, "not a line of postgresql.conf", f"name = value, or {_EXPORT}")
        quoted = match["quoted"]
        pairs.append((match["name"], match["bare"] if quoted is None else _ESCAPE.sub(_unescaped, quoted)))
    return pairs


def _unescaped(match: re.Match[str]) -> str:
    escaped = match[1]
    if escaped is None:
        return "'"
    return chr(int(escaped, 8)) if escaped.isdigit() else _LETTERS.get(escaped, escaped)


def _is_csv(text: str) -> bool:
    header = text.lstrip().partition("\n")[0].lower()
    return {"name", "setting"} <= {word.strip(' "\r') for word in header.split(",")}


def _from_csv(name: str, text: str) -> list[tuple[str, str]]:
    reader = csv.DictReader(StringIO(text.lstrip()), skipinitialspace=True)
    reader.fieldnames = [word.strip().lower() for word in reader.fieldnames or ()]
    try:
        return _from_rows(name, (({**row}, reader.line_num) for row in reader))
    except csv.Error as error:
        raise SqlFileError(name, reader.line_num, f"not CSV: {error}", _EXPORT) from None


def _from_json(name: str, text: str) -> list[tuple[str, str]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SqlFileError(name, error.lineno, f"not JSON: {error.msg.lower()}", _EXPORT) from None
    if isinstance(document, dict):
        document = [{"name": key, "setting": value} for key, value in document.items()]
    if not all(isinstance(row, dict) for row in document):
        raise SqlFileError(name, 1, "not a JSON array of objects with name and setting", _EXPORT)
    return _from_rows(name, ((row, 1) for row in document))


def _from_rows(name: str, rows: Iterable[tuple[Mapping[str, object], int]]) -> list[tuple[str, str]]:
    pairs = []
    for row, line in rows:
        setting, value = row.get("name"), row.get("setting")
        if not isinstance(setting, str) or not setting.strip():
            raise SqlFileError(name, line, "a setting without a name", _EXPORT)
        if value is None:
            continue
        pairs.append((setting.strip(), _with_unit(_text(value), row.get("unit"))))
    return pairs


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _with_unit(value: str, unit: object) -> str:
    """`16384` of `8kB` as `131072kB`: another server's blocks may be of another size."""
    match = _UNIT.fullmatch(unit) if isinstance(unit, str) else None
    if match is None or not _WHOLE.fullmatch(value) or int(value) <= 0:
        return value  # 0 and -1 mean something of their own
    return f"{int(value) * int(match[1] or 1)}{match[2]}"
