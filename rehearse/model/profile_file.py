"""A profile as a JSON file, and back. Strict: what is wrong with a file is named by its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from rehearse.errors import InputError
from rehearse.model.profile import (
    NULL,
    ColumnProfile,
    CommonValue,
    JointStatistics,
    Profile,
    ReferenceProfile,
    TableProfile,
)
from rehearse.model.relation import Relation

FORMAT = "rehearse-profile"
VERSION = 1
_DIGITS = 6

T = TypeVar("T")


def profile_text(profile: Profile) -> str:
    """The profile as JSON for people to read: one line a common value, what is empty left out."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "taken_at": profile.taken_at,
        "server": profile.server,
        "scanned": profile.scanned,
        "notes": list(profile.notes),
        "tables": [_table(table) for table in profile.tables],
    }
    return _indented(document) + "\n"


def parse_profile(text: str, name: str) -> Profile:
    """The profile in a file's text; `name` is what to call the file. Raises InputError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{name} is not a profile: not JSON", str(error)) from None
    reader = _Reader(document, name)
    if reader.text("format") != FORMAT:
        raise InputError(f"{name} is not a profile", "make one with `rehearse data profile`")
    if reader.integer("version") != VERSION:
        raise InputError(
            f"{name} is a profile of version {reader.integer('version')}, and {VERSION} is read here",
            "take it anew with `rehearse data profile`",
        )
    profile = Profile(
        taken_at=reader.text("taken_at"),
        server=reader.text("server"),
        scanned=reader.flag("scanned"),
        notes=reader.texts("notes"),
        tables=tuple(map(_read_table, reader.items("tables"))),
    )
    reader.done("format", "version")
    return profile


def _table(table: TableProfile) -> dict[str, object]:
    return _without_empty(
        {
            "schema": table.relation.schema,
            "name": table.relation.name,
            "rows": table.rows,
            "rows_from": table.rows_from,
            "heap_bytes": table.heap_bytes,
            "toast_bytes": table.toast_bytes,
            "indexes": dict(table.indexes),
            "dead_fraction": _short(table.dead_fraction),
            "columns": [_column(column) for column in table.columns],
            "references": [_reference(reference) for reference in table.references],
            "joint": [_joint(joint) for joint in table.joint],
        },
        keep=("schema", "name", "rows", "columns"),
    )


def _column(column: ColumnProfile) -> dict[str, object]:
    return _without_empty(
        {
            "name": column.name,
            "type": column.type,
            "withheld": column.withheld,
            "unknown": True if not column.known else None,
            "null_fraction": _short(column.null_fraction),
            "width_bytes": column.width_bytes,
            "distinct": _short(column.distinct),
            "correlation": None if column.correlation is None else _short(column.correlation),
            "common": [_common(value) for value in column.common],
            "quantiles": list(column.quantiles),
            "lengths": list(column.lengths),
            "elements": [_common(value) for value in column.elements],
            "element_count": column.element_count,
        },
        keep=("name", "type", "null_fraction", "distinct", "correlation"),
    )


def _common(common: CommonValue) -> dict[str, object]:
    document: dict[str, object] = {"frequency": _short(common.frequency)}
    if common.value is not None:
        document["value"] = common.value
    if common.length is not None:
        document["length"] = common.length
    if common.position is not None:
        document["position"] = common.position
    return document


def _reference(reference: ReferenceProfile) -> dict[str, object]:
    return {
        "name": reference.name,
        "columns": list(reference.columns),
        "parent": {"schema": reference.parent.schema, "name": reference.parent.name},
        "parent_columns": list(reference.parent_columns),
        "null_fraction": _short(reference.null_fraction),
        "parents": reference.parents,
        "children_per_parent": reference.children_per_parent,
        "largest_share": _short(reference.largest_share),
    }


def _joint(joint: JointStatistics) -> dict[str, object]:
    return {
        "name": joint.name,
        "columns": list(joint.columns),
        "distinct": [{"columns": list(columns), "count": count} for columns, count in joint.distinct],
        "dependencies": [
            {"from": list(given), "to": to, "degree": degree} for given, to, degree in joint.dependencies
        ],
        "frequencies": [_short(frequency) for frequency in joint.frequencies],
        "combinations": [list(combination) for combination in joint.combinations],
    }


def _read_table(reader: _Reader) -> TableProfile:
    table = TableProfile(
        relation=Relation(reader.text("schema"), reader.text("name")),
        rows=reader.integer("rows"),
        rows_from=reader.text("rows_from", "statistics"),
        heap_bytes=reader.integer("heap_bytes", 0),
        toast_bytes=reader.integer("toast_bytes", 0),
        indexes=reader.sizes("indexes"),
        dead_fraction=reader.share("dead_fraction"),
        columns=tuple(map(_read_column, reader.items("columns"))),
        references=tuple(map(_read_reference, reader.items("references"))),
        joint=tuple(map(_read_joint, reader.items("joint"))),
    )
    reader.done()
    return table


def _read_column(reader: _Reader) -> ColumnProfile:
    column = ColumnProfile(
        name=reader.text("name"),
        type=reader.text("type"),
        withheld=reader.text("withheld", ""),
        known=not reader.flag("unknown"),
        null_fraction=reader.share("null_fraction"),
        width_bytes=reader.integer("width_bytes", 0),
        distinct=reader.number("distinct") or 0.0,
        correlation=reader.number("correlation", -1.0, 1.0),
        common=tuple(map(_read_common, reader.items("common"))),
        quantiles=reader.texts("quantiles"),
        lengths=tuple(map(_as_count(reader, "lengths"), reader.plain("lengths"))),
        elements=tuple(map(_read_common, reader.items("elements"))),
        element_count=reader.number("element_count", 0.0),
    )
    reader.done()
    if sum(common.frequency for common in column.common) + column.null_fraction > 1.02:
        raise reader.wrong("common", "sums up to more than all rows")
    return column


def _read_common(reader: _Reader) -> CommonValue:
    length = reader.number("length", 0.0)
    common = CommonValue(
        frequency=reader.share("frequency"),
        value=reader.text("value") if reader.has("value") else None,
        length=None if length is None else int(length),
        position=reader.number("position", 0.0, 1.0),
    )
    reader.done()
    return common


def _read_reference(reader: _Reader) -> ReferenceProfile:
    parent = reader.inner("parent")
    reference = ReferenceProfile(
        name=reader.text("name"),
        columns=reader.texts("columns"),
        parent=Relation(parent.text("schema"), parent.text("name")),
        parent_columns=reader.texts("parent_columns"),
        null_fraction=reader.share("null_fraction"),
        parents=reader.number("parents", 0.0),
        children_per_parent=reader.number("children_per_parent", 0.0),
        largest_share=reader.share("largest_share"),
    )
    reader.done()
    return reference


def _read_joint(reader: _Reader) -> JointStatistics:
    joint = JointStatistics(
        name=reader.text("name"),
        columns=reader.texts("columns"),
        distinct=tuple(
            (item.texts("columns"), item.number("count") or 0.0) for item in reader.items("distinct")
        ),
        dependencies=tuple(
            (item.texts("from"), item.text("to"), item.number("degree") or 0.0)
            for item in reader.items("dependencies")
        ),
        frequencies=tuple(map(_as_share(reader, "frequencies"), reader.plain("frequencies"))),
        combinations=tuple(reader.places("combinations")),
    )
    reader.done()
    odd = any(len(combination) != len(joint.columns) for combination in joint.combinations)
    if odd or len(joint.combinations) not in {0, len(joint.frequencies)}:
        raise reader.wrong("combinations", "must name a place for each column and frequency")
    return joint


class _Reader:
    """One JSON object; what is wrong with it is named by its place in the file."""

    def __init__(self, document: object, place: str) -> None:
        if not isinstance(document, dict):
            raise InputError(f"{place}: must be an object")
        self._document: Mapping[str, object] = document
        self._place = place
        self._read: set[str] = set()

    def wrong(self, key: str, what: str) -> InputError:
        """The error that names `key`."""
        return InputError(f"{self._place}: `{key}` {what}")

    def done(self, *more: str) -> None:
        """Every key has been asked for. Raises InputError for one that has not."""
        unknown = self._document.keys() - self._read - set(more)
        if unknown:
            raise self.wrong(min(unknown), "is not a key of a profile")

    def has(self, key: str) -> bool:
        """Whether it is there."""
        return key in self._document

    def _get(self, key: str, default: object) -> object:
        self._read.add(key)
        value = self._document.get(key, default)
        if value is _MISSING:
            raise self.wrong(key, "is missing")
        return value

    def text(self, key: str, default: object = None) -> str:
        """A text, required unless there is a default."""
        value = self._get(key, _MISSING if default is None else default)
        if not isinstance(value, str):
            raise self.wrong(key, "must be text")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def integer(self, key: str, default: object = None) -> int:
        """A count, required unless there is a default."""
        value = self._get(key, _MISSING if default is None else default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.wrong(key, "must be a whole number, not negative")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A number in [low, high], None if it is not there."""
        return self._number(key, self._get(key, None), low, high)

    def _number(self, key: str, value: object, low: float, high: float) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, "must be a number")
        if not low <= value <= high:
            raise self.wrong(key, f"must be from {low:g} to {high:g}")
        return float(value)

    def share(self, key: str) -> float:
        """A fraction, 0 if it is not there."""
        return self.number(key, 0.0, 1.0) or 0.0

    def plain(self, key: str) -> list[object]:
        """A list of anything."""
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "must be a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.plain(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "must be a list of texts")
        return tuple(str(value) for value in values)

    def places(self, key: str) -> Iterator[tuple[int | None, ...]]:
        """A list of lists of places in other lists."""
        for value in self.plain(key):
            items: list[object] = value if isinstance(value, list) else [value]
            places = [item for item in items if item is None or (type(item) is int and item >= NULL)]
            if len(places) < len(items) or not isinstance(value, list):
                raise self.wrong(key, "must be lists of whole numbers and nulls")
            yield tuple(places)

    def inner(self, key: str) -> _Reader:
        """An object."""
        return _Reader(self._get(key, _MISSING), f"{self._place}: {key}")

    def items(self, key: str) -> list[_Reader]:
        """A list of objects."""
        return [
            _Reader(value, f"{self._place}: {key}[{place}]") for place, value in enumerate(self.plain(key))
        ]

    def sizes(self, key: str) -> tuple[tuple[str, int], ...]:
        """An object of counts."""
        reader = _Reader(self._get(key, {}), f"{self._place}: {key}")
        return tuple((name, reader.integer(name)) for name in reader._document)


_MISSING = object()


def _as_count(reader: _Reader, key: str) -> Callable[[object], int]:
    def count(value: object) -> int:
        number = reader._number(key, value, 0.0, math.inf)
        if number is None:
            raise reader.wrong(key, "must be a list of numbers")
        return int(number)

    return count


def _as_share(reader: _Reader, key: str) -> Callable[[object], float]:
    def share(value: object) -> float:
        return reader._number(key, value, 0.0, 1.0) or 0.0

    return share


def _short(number: float) -> float:
    return round(number, _DIGITS)


def _without_empty(document: dict[str, object], keep: tuple[str, ...]) -> dict[str, object]:
    return {
        key: value for key, value in document.items() if key in keep or value not in ("", None, [], {}, 0)
    }


def _indented(value: object, depth: int = 0) -> str:
    """JSON with whatever fits on one line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + 2 * depth <= 110 or not isinstance(value, dict | list):
        return flat
    inner = "  " * (depth + 1)
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {_indented(v, depth + 1)}" for key, v in value.items()
        ]
    else:
        parts = [_indented(item, depth + 1) for item in value]
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        parts = _wrapped(parts, 108 - len(inner))
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    body = ",\n".join(inner + part for part in parts)
    return f"{opened}\n{body}\n{'  ' * depth}{closed}"


def _wrapped(parts: list[str], width: int) -> list[str]:
    """Several to a line."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= width:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return lines
