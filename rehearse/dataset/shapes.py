"""Types whose values are texts of a fixed build: documents, network addresses, geometry, and the rest."""

from __future__ import annotations

from collections.abc import Callable

from rehearse.dataset.patterns import Slots
from rehearse.dataset.values import Choices, Template, Values
from rehearse.model.schema import DataType

_HEX = tuple(f"{n:02x}" for n in range(256))
_OCTETS = tuple(str(n) for n in range(256))
_NUMBERS = tuple(str(n) for n in range(1000))
_COORDINATES = tuple(f"{n / 10:.1f}" for n in range(1000))
_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "iris",
    "jade",
    "lark",
    "maple",
)
_BITS = ("0", "1")
_OCTETS_OF_A_VALUE = 16
_VARIED_OCTETS = 64


def shape(
    type_: DataType, json: str, lengths: tuple[int, int | None] = (0, None), *, exact: bool
) -> Values | None:
    """Values of a type by its name; None for a type that is not known. `json` is what kind of JSON value
    is asked for (object if empty), `lengths` the fewest and most bytes of a bytea.
    """
    if type_.name == "bytea":
        return _octets(*lengths, exact=exact)
    if type_.name in _LISTS:
        return Choices(_LISTS[type_.name])
    if type_.name in {"json", "jsonb"}:
        return Template(_JSON.get(json or "object", _JSON["object"]), exact)
    if type_.name in _SIZED:
        slots = _SIZED[type_.name](type_.length)
        return Template(slots, exact)
    if type_.name in {"geometry", "geography"}:
        return _places(type_, exact=exact)
    slots = _FIXED.get(type_.name, ())
    return Template(slots, exact) if slots else None


def _octets(least: int, most: int | None, *, exact: bool) -> Template:
    """Bytes, sixteen of them unless that is too few or too many; those beyond the 64th are zero."""
    length = max(least, min(_OCTETS_OF_A_VALUE, _OCTETS_OF_A_VALUE if most is None else most))
    varied = min(length, _VARIED_OCTETS)
    return Template((("\\x",), *((_HEX,) * varied), ("00" * (length - varied),)), exact)


def _slots(*parts: str | tuple[str, ...]) -> Slots:
    return tuple((part,) if isinstance(part, str) else part for part in parts)


def _point(*around: str) -> Slots:
    return _slots(around[0], _COORDINATES, ",", _COORDINATES, around[1])


def _bits(length: int | None) -> Slots:
    return (_BITS,) * (length or 1)


def _varying_bits(length: int | None) -> Slots:
    return (_BITS,) * min(length or 32, 32)


def _vector(length: int | None) -> Slots:
    numbers = tuple(f"{n / 100:.2f}" for n in range(-99, 100))
    inner: Slots = ()
    for place in range(length or 3):
        inner += _slots(",", numbers) if place else _slots(numbers)
    return (("[",), *inner, ("]",))


def _sparse_vector(length: int | None) -> Slots:
    numbers = tuple(f"{n / 100:.2f}" for n in range(1, 1000))
    return _slots("{1:", numbers, f"}}/{length or 3}")


def _places(type_: DataType, *, exact: bool) -> Values | None:
    """PostGIS: points in degrees, where the column takes points."""
    modifier = type_.sql.partition("(")[2].lower()
    if modifier and not modifier.startswith("point"):
        return None
    srid = modifier.rstrip(")").partition(",")[2] or "4326"
    prefix = "" if not modifier and type_.name == "geometry" else f"SRID={srid};"
    return Template(_slots(f"{prefix}POINT(", _COORDINATES, " ", _COORDINATES[:900], ")"), exact)


# a leading zero is no JSON number, so the two parts of the id start with 1 to 9
_NATURAL = tuple(str(n) for n in range(1, 1000))
_PADDED = tuple(f"{n:03}" for n in range(1000))
_JSON: dict[str, Slots] = {
    "object": _slots(
        '{"id": ',
        _NATURAL,
        _PADDED,
        _PADDED,
        ', "tag": "',
        _WORDS,
        '", "active": ',
        ("true", "false"),
        "}",
    ),
    "array": _slots("[", _NATURAL, _PADDED, _PADDED, ', "', _WORDS, '"]'),
    "string": _slots('"', _WORDS, "-", _PADDED, _PADDED, '"'),
    "number": _slots(_NATURAL, _PADDED, _PADDED),
    "boolean": _slots(("true", "false")),
    "null": _slots("null"),
}
_SIZED: dict[str, Callable[[int | None], Slots]] = {
    "bit": _bits,
    "varbit": _varying_bits,
    "vector": _vector,
    "halfvec": _vector,
    "sparsevec": _sparse_vector,
}
_FIXED: dict[str, Slots] = {
    "inet": _slots("10.", _OCTETS, ".", _OCTETS, ".", _OCTETS[1:255]),
    "cidr": _slots("10.", _OCTETS, ".", _OCTETS, ".0/24"),
    "macaddr": _slots("02", *(part for _ in range(5) for part in (":", _HEX))),
    "macaddr8": _slots("02", *(part for _ in range(7) for part in (":", _HEX))),
    "pg_lsn": _slots("0/", _HEX[16:], _HEX, _HEX),
    "point": _point("(", ")"),
    "lseg": _slots("[", *_point("(", "),("), *_point("", ")]")),
    "box": _slots(*_point("(", "),("), *_point("", ")")),
    "path": _slots("[", *_point("(", "),("), *_point("", ")]")),
    "polygon": _slots("(", *_point("(", "),("), *_point("", "),("), *_point("", "))")),
    "circle": _slots("<", *_point("(", "),"), _NUMBERS, ">"),
    "line": _slots("{", _NATURAL, ",", _NATURAL, ",", _NUMBERS, "}"),
    "tsvector": _slots(_WORDS, " ", _WORDS, " ", _WORDS, _PADDED, _PADDED),
    "tsquery": _slots(_WORDS, " & ", _WORDS, _PADDED),
    "xml": _slots('<item id="', _NATURAL, _PADDED, '">', _WORDS, "</item>"),
    "hstore": _slots("id=>", _NATURAL, _PADDED, ", tag=>", _WORDS),
    "ltree": _slots(_WORDS, ".", _WORDS, ".n", _PADDED, _PADDED),
    "lquery": _slots(_WORDS, ".*.n", _PADDED, _PADDED),
    "ltxtquery": _slots(_WORDS, " & n", _PADDED, _PADDED),
    # the server fills in the check digit
    "ean13": _slots("400", _PADDED, _PADDED, _PADDED, "?"),
    "isbn": _slots("978", _PADDED, _PADDED, _PADDED, "?"),
    "isbn13": _slots("978", _PADDED, _PADDED, _PADDED, "?"),
    "ismn": _slots("97901", _PADDED, _PADDED, "1?"),
    "ismn13": _slots("97901", _PADDED, _PADDED, "1?"),
    "issn": _slots("9771", _PADDED, _PADDED, "00?"),
    "issn13": _slots("9771", _PADDED, _PADDED, "00?"),
    "upc": _slots("04", _PADDED, _PADDED, _PADDED, "1?"),
    "cube": _point("(", ")"),
    "seg": _slots("0 .. ", _NATURAL),
    "query_int": _slots(_NATURAL, "&", _NATURAL),
    "jsonpath": _slots("$.", _WORDS),
    "tid": _slots("(", _NUMBERS, ",", _NATURAL[:200], ")"),
    "oidvector": _slots(_NUMBERS, " ", _NUMBERS),
    "int2vector": _slots(_NUMBERS, " ", _NUMBERS),
    "pg_snapshot": _slots("1", _PADDED, ":2", _PADDED, ":"),
    "txid_snapshot": _slots("1", _PADDED, ":2", _PADDED, ":"),
    "refcursor": _slots(_WORDS, _PADDED),
}
_LISTS: dict[str, tuple[str, ...]] = {
    "char": tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "regclass": ("pg_catalog.pg_class", "pg_catalog.pg_type"),
    "regtype": ("pg_catalog.int4", "pg_catalog.text"),
    "regnamespace": ("pg_catalog",),
    "regconfig": ("pg_catalog.simple", "pg_catalog.english"),
    "regdictionary": ("pg_catalog.simple",),
    "regproc": ("pg_catalog.version",),
    "regprocedure": ("pg_catalog.version()",),
    "regoperator": ("pg_catalog.+(integer,integer)",),
    "regoper": ("pg_catalog.||/",),
    "regcollation": ('pg_catalog."C"',),
    "regrole": ("pg_database_owner",),
    "aclitem": ("=r/postgres",),
}
