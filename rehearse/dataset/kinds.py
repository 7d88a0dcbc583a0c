"""From a column's type, name and facts to the values it gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from rehearse.dataset.expressions import NotUnderstoodError, parse
from rehearse.dataset.facts import Facts, Says, alternatives
from rehearse.dataset.lattices import LATTICES, lattice
from rehearse.dataset.patterns import TYPICAL, PatternError, Slots, from_like, from_regex, longest, size
from rehearse.dataset.shapes import shape
from rehearse.dataset.uuids import Uuids
from rehearse.dataset.values import (
    Assembled,
    Choices,
    Spans,
    Template,
    Values,
    Vocabulary,
    code,
)
from rehearse.dataset.vocabulary import DEFAULT_LOCALE, kind_for, pool
from rehearse.model.schema import DataType, TypeKind

TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
_CODES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MORE_CODES = _CODES + "abcdefghijklmnopqrstuvwxyz"
_CODE_NAME = re.compile(
    r"code|sku|number|(^|_)no$|ref|token|hash|digest|key|uuid|guid|secret|serial|barcode|isbn|vin|checksum|external"
    r"|password|signature",
    re.IGNORECASE,
)
_ADDRESS_NAME = re.compile(r"(^|_)ip(_|$|v?4)|ip_?addr", re.IGNORECASE)
# columns just wide enough for the codes that stand for such things
_ISO: dict[tuple[str, int | None], str] = {
    ("country", 2): "country_code",
    ("country_code", 2): "country_code",
    ("currency", 3): "currency",
}
_WHOLE = {
    "interval year": " years",
    "interval month": " months",
    "interval year to month": " months",
    "interval day": " days",
}
_INNER_DEPTH = 4
_NOTHING = Facts()


class UnsupportedTypeError(ValueError):
    """No values of this type can be made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the values are for: a column of this name, `rows` of them, all different if `exact`.

    `key` seeds what is random about the values themselves.
    """

    table: str
    column: str
    rows: int
    exact: bool
    key: int
    locale: str = DEFAULT_LOCALE


def values_of(  # noqa: PLR0911 - one arm a family of types
    type_: DataType, facts: Facts, wanted: Wanted, depth: int = 0
) -> Values:
    """Values of `type_` that agree with `facts`. Raises UnsupportedTypeError."""
    base, facts = flattened(type_, facts)
    if depth > _INNER_DEPTH:
        raise UnsupportedTypeError(type_.sql)
    if base.kind in _MAKERS:
        return _MAKERS[base.kind](base, facts, wanted, depth)
    if facts.one_of is not None:
        return _choices(facts.one_of, facts)
    if base.name == "bool":
        return _choices(("true", "false"), facts)
    if base.sql in _WHOLE:
        return _whole(_WHOLE[base.sql], exact=wanted.exact)
    if base.name in LATTICES:
        return lattice(base, facts, wanted.column, exact=wanted.exact, rows=wanted.rows)
    if base.name in TEXTS:
        return _text(base, facts, wanted)
    if base.name == "uuid":
        return Uuids(wanted.key)
    made = shape(base, facts.json, (facts.min_length, facts.max_length), exact=wanted.exact)
    if made is None:
        raise UnsupportedTypeError(type_.sql)
    return made


def _whole(unit: str, *, exact: bool) -> Template:
    """Intervals of which only days or longer units are kept: in seconds they would all come to nothing."""
    small = tuple(str(n) for n in range(1, 1000 if exact else 120))
    thousands = (tuple(f"{n:03}" for n in range(1000)),) if exact else ()
    return Template((small, *thousands, (unit,)), exact)


def flattened(type_: DataType, facts: Facts = _NOTHING) -> tuple[DataType, Facts]:
    """A domain's base type, and the facts with those of the domain's own checks."""
    while type_.kind is TypeKind.DOMAIN and type_.element is not None:
        for check in type_.checks:
            facts = facts.also(domain_facts(check))
        if type_.domain_not_null:
            facts = facts.also(Facts(not_null=True))
        type_ = type_.element
    return type_, facts


def domain_facts(check: str) -> Facts:
    """What a domain's CHECK says about its values; nothing where it is not understood."""
    try:
        first = alternatives(parse(check))[0]
    except NotUnderstoodError:
        return Facts()
    facts = Facts()
    for atom in first:
        if isinstance(atom, Says):
            facts = facts.also(atom.facts)
    return facts


def _choices(items: tuple[str, ...], facts: Facts) -> Choices:
    left = tuple(item for item in items if item not in facts.none_of)
    if facts.fold:
        folded = [item.lower() if facts.fold == "lower" else item.upper() for item in left]
        left = tuple(dict.fromkeys(folded))
    if facts.max_length is not None:
        left = tuple(item for item in left if len(item) <= facts.max_length)
    if not left:
        raise UnsupportedTypeError("no value is allowed")
    return Choices(left)


def _enum(type_: DataType, facts: Facts, _: Wanted, __: int) -> Values:
    allowed = facts.one_of
    labels = type_.labels if allowed is None else tuple(label for label in type_.labels if label in allowed)
    return _choices(labels, facts)


def _array(type_: DataType, facts: Facts, wanted: Wanted, depth: int) -> Values:
    assert type_.element is not None
    if facts.one_of is not None:
        return _choices(facts.one_of, facts)
    element = values_of(type_.element, Facts(), wanted, depth + 1)
    # of all types, box alone has another delimiter
    form = "array;" if flattened(type_.element)[0].name == "box" else "array"
    return Assembled(form, (element,) * 4, wanted.exact)


def _row(type_: DataType, _: Facts, wanted: Wanted, depth: int) -> Values:
    parts = [
        values_of(inner, Facts(), replace(wanted, column=name), depth + 1) for name, inner in type_.attributes
    ]
    if not parts:
        raise UnsupportedTypeError(type_.sql)
    # the part that can differ most carries what makes an exact row unique
    return Assembled("row", tuple(parts), exact=wanted.exact and parts[0].size >= wanted.rows)


def _range(type_: DataType, facts: Facts, wanted: Wanted, _: int) -> Values:
    assert type_.element is not None
    base, inner = flattened(type_.element)
    if base.name not in LATTICES:
        return Choices(("empty",))
    points = lattice(base, inner.also(facts), wanted.column, exact=True, rows=wanted.rows)
    (low, high) = points.spans[0]
    width = max(1, min(86_400 if base.name.startswith("timestamp") else 10, (high - low) // 4))
    if not wanted.exact:
        return Spans(replace(points, spans=((low, max(low, high - width)),)), width)
    # disjoint: an exclusion constraint with && holds whatever else is in the row
    room = (high - low) // max(1, 2 * wanted.rows)
    step = max(1, min(room, 2 * width))
    return Spans(replace(points, spans=((low, max(low, high - step)),), step=step), min(width, step))


def _multirange(type_: DataType, facts: Facts, wanted: Wanted, depth: int) -> Values:
    assert type_.element is not None
    inner = _range(type_.element, facts, replace(wanted, exact=False), depth)
    return Assembled("multirange", (inner,) * 2, exact=False)


def _text(type_: DataType, facts: Facts, wanted: Wanted) -> Values:
    if type_.length is not None or type_.name == "name":
        facts = facts.also(Facts(max_length=type_.length or 63))
    slots = _patterned(facts, wanted)
    if slots is not None:
        return Template(slots, wanted.exact)
    if _ADDRESS_NAME.search(wanted.column) and (facts.max_length or 15) >= 15 and facts.min_length <= 7:
        made = shape(DataType("inet", "inet"), "", exact=wanted.exact)
        assert made is not None
        return made
    iso = _ISO.get((kind_for(wanted.column, wanted.table), facts.max_length))
    if iso is not None and not wanted.exact and facts.min_length <= (facts.max_length or 0):
        return Vocabulary(iso, facts.max_length, 0, facts.fold, False, wanted.locale)
    if _CODE_NAME.search(wanted.column) or (facts.max_length or 99) < 4:
        return _code(facts, wanted)
    words = _words(facts, wanted)
    return words if not wanted.exact or words.fits else _code(facts, wanted)


def _words(facts: Facts, wanted: Wanted) -> Vocabulary:
    kind = kind_for(wanted.column, wanted.table)
    return Vocabulary(kind, facts.max_length, facts.min_length, facts.fold, wanted.exact, wanted.locale)


def _code(facts: Facts, wanted: Wanted) -> Template:
    """As short as the number of rows allows, but ten characters where nobody says otherwise."""
    alphabet = _CODES
    longest_allowed = facts.max_length if facts.max_length is not None else 10_000
    if len(alphabet) ** min(longest_allowed, 20) < wanted.rows and not facts.fold:
        alphabet = _MORE_CODES
    if facts.fold == "lower":
        alphabet = alphabet.lower()
    length = max(facts.min_length, min(10, longest_allowed))
    return code(alphabet, length, exact=wanted.exact)


def _patterned(facts: Facts, wanted: Wanted) -> Slots | None:
    """Slots of the column's pattern; None if it has none, or if words that suit its name match it."""
    if not facts.regexes and not facts.likes:
        return None
    if not wanted.exact and _words_match(facts, wanted):
        return None
    for typical in (TYPICAL, 5, 3, 2, 1, 12, 16, 24, 40):
        slots = _fitting(facts, wanted, typical)
        if slots is not None:
            return slots
    return None


def _fitting(facts: Facts, wanted: Wanted, typical: int) -> Slots | None:
    try:
        slots = from_regex(facts.regexes[0], typical) if facts.regexes else from_like(facts.likes[0])
    except PatternError:
        return None
    if facts.fold:
        slots = tuple(tuple(dict.fromkeys(_fold(text, facts.fold) for text in slot)) for slot in slots)
    length = longest(slots)
    too_long = facts.max_length is not None and length > facts.max_length
    if too_long or length < facts.min_length or (wanted.exact and size(slots) < wanted.rows):
        return None
    return slots


def _fold(text: str, fold: str) -> str:
    return text.lower() if fold == "lower" else text.upper()


def _words_match(facts: Facts, wanted: Wanted) -> bool:
    patterns = facts.regexes
    if not patterns or any("[[" in pattern for pattern in patterns):
        return False
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error:
        return False
    texts = pool(kind_for(wanted.column, wanted.table), wanted.locale).texts
    return facts.max_length is None and all(rule.search(text) for rule in compiled for text in texts)


_Maker = Callable[[DataType, Facts, Wanted, int], Values]
_MAKERS: dict[TypeKind, _Maker] = {
    TypeKind.ENUM: _enum,
    TypeKind.ARRAY: _array,
    TypeKind.COMPOSITE: _row,
    TypeKind.RANGE: _range,
    TypeKind.MULTIRANGE: _multirange,
}
