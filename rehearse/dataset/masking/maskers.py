"""From a column's plan to the function that masks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rehearse.dataset.masking import binaries, masks, measures, structured
from rehearse.dataset.masking.columns import (
    DATES,
    INTEGERS,
    SHAPES,
    TEXTS,
    ColumnPlan,
    base_type,
    bound_type,
    bounds_of,
)
from rehearse.dataset.masking.letters import texts
from rehearse.dataset.masking.markup import markup
from rehearse.dataset.masking.masks import Masker, Shape
from rehearse.dataset.masking.moments import moments
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import DEFAULT_DAYS, DEFAULT_SHARE, KEEP, KEYS
from rehearse.dataset.masking.suggestions import suggested_for
from rehearse.dataset.vocabulary import kind_for
from rehearse.model.schema import DataType, TypeKind

if TYPE_CHECKING:
    import polars as pl

_PEOPLE = frozenset({"email", "first_name", "last_name", "name", "phone"})
_HASH_DIGITS = 32


def masker_of(plan: ColumnPlan, key: MaskKey, *, copy: int = 0, stride: int = 0) -> Masker | None:
    """The column's mask on decoded text; None for one that is kept.

    `copy` numbers the copies of a multiplied snapshot, and `stride` is what sets the integer keys of two of
    them apart; other keys are hashed by a key of the copy's own.
    """
    if plan.keeps:
        return None
    return _Builder(plan, key, copy, stride).whole()


class _Builder:
    def __init__(self, plan: ColumnPlan, key: MaskKey, copy: int, stride: int) -> None:
        self._plan = plan
        self._master = key
        self._copy = copy
        self._stride = stride * copy

    def whole(self) -> Masker:
        plan = self._plan
        if plan.mask == "null":
            return masks.constant(None)
        if plan.mask == "constant":
            return masks.constant(plan.rule.value)
        return self._of(plan.column.type, plan.mask)

    def _key(self, mask: str) -> bytes:
        domain = self._plan.domain if mask == self._plan.mask else mask
        numbered = self._copy and self._plan.injective
        return self._master.derive(f"{domain}#{self._copy}" if numbered else domain)

    def _of(  # noqa: PLR0911 - one arm a kind of type
        self, type_: DataType, mask: str
    ) -> Masker:
        type_ = base_type(type_)
        if type_.kind is TypeKind.ARRAY and type_.element is not None:
            boxes = base_type(type_.element).name == "box"
            return structured.arrays(self._of(type_.element, mask), boxes=boxes)
        if type_.kind is TypeKind.COMPOSITE:
            return structured.composites([self._attribute(name, inner) for name, inner in type_.attributes])
        if type_.kind in {TypeKind.RANGE, TypeKind.MULTIRANGE}:
            return structured.ranges(self._bound(bound_type(type_)))
        if mask == "json":
            return self._document()
        if type_.name in TEXTS:
            return self._text(type_, mask)
        if mask == "key":
            return self._keys(type_)
        if mask == "number":
            return self._number(type_)
        if mask == "date":
            return self._date(type_)
        return self._rare(type_)

    def _attribute(self, name: str, type_: DataType) -> Masker:
        for rule in self._plan.paths:
            if fnmatchcase(name, rule.path.removeprefix("$.")):
                return self._alone(rule.rule.mask, type_, rule.rule.value)
        mask = suggested_for(base_type(type_), name, self._plan.relation.name) or "text"
        return self._alone(mask, type_, None)

    def _alone(self, mask: str, type_: DataType, value: str | None) -> Masker:
        """The mask of a part that has its own rule, or none."""
        if mask == KEEP:
            return _kept
        if mask in {"null", "constant"}:
            return masks.constant(value)
        if mask == "auto":
            mask = suggested_for(base_type(type_), "", "") or "text"
        return self._of(type_, mask)

    def _shape(self, type_: DataType) -> Shape:
        own = type_.length if type_.name in {"varchar", "bpchar"} else None
        length = own if self._plan.length is None else self._plan.length
        if type_.name == "name":
            length = 63
        return Shape(length=length, unique=self._plan.injective, fold=self._plan.fold)

    def _text(self, type_: DataType, mask: str) -> Masker:
        shape, key = self._shape(type_), self._key(mask)
        if mask in {"name", "first_name", "last_name"}:
            return masks.names(key, shape, mask)
        if mask == "email":
            return masks.emails(key, shape)
        if mask == "hash":
            return masks.hashes(key, min(shape.length or _HASH_DIGITS, 64))
        shape = replace(shape, unique=shape.unique or mask == "key")
        text = texts(key, shape, phone=mask == "phone", copy=self._copy)
        # the server pads it again
        return (lambda values: text(values.str.strip_chars_end(" "))) if type_.name == "bpchar" else text

    def _keys(self, type_: DataType) -> Masker:
        key = self._key("key")
        if type_.name == "uuid":
            return masks.uuids(key)
        if self._copy and (type_.name in INTEGERS or type_.name == "numeric"):
            key = self._master.derive(self._plan.domain)  # one permutation, moved by the stride
        scale = type_.scale or 0 if type_.name == "numeric" else 0
        if scale > 0:
            return measures.decimal_keys(key, scale, self._plan.maximum, self._stride)
        return measures.keys(key, self._plan.maximum, self._stride)

    def _number(self, type_: DataType) -> Masker:
        rule = self._plan.rule
        low, high = bounds_of(self._plan.facts)
        most = _most(type_)
        shape = Shape(
            scale=type_.scale,
            low=_higher(rule.low, low if low is not None else (None if most is None else -most)),
            high=_lower(rule.high, _lower(high, most)),
        )
        within = rule.within or DEFAULT_SHARE
        return measures.numbers(self._key("number"), within, shape, whole=type_.name in INTEGERS)

    def _date(self, type_: DataType) -> Masker:
        within = self._plan.rule.within or DEFAULT_DAYS
        # one bend for all dates, so that what came first in a row still does
        domain = self._plan.rule.domain or f"date within {within}"
        days = type_.name == "date"
        return moments(self._master.derive(domain), within, days_only=days, shift=self._plan.shift)

    def _bound(self, type_: DataType) -> Masker:
        if type_.name in DATES:
            return self._date(type_)
        scale = measures.scaled(self._key("number"), self._plan.rule.within or DEFAULT_SHARE)
        return masks.partial_of(scale)

    def _rare(self, type_: DataType) -> Masker:
        key = self._key("text")
        within = self._plan.rule.within or DEFAULT_SHARE
        unique = self._plan.injective
        text = texts(key, Shape(unique=unique))
        if type_.name in SHAPES:
            return structured.shapes(measures.numbers(key, within, Shape(), whole=False))
        made: dict[str, Callable[[], Masker]] = {
            "uuid": lambda: masks.uuids(key),
            "bytea": lambda: binaries.binary(key, unique=unique),
            "bit": lambda: binaries.bits(key, unique=unique),
            "varbit": lambda: binaries.bits(key, unique=unique),
            "time": lambda: structured.times(key),
            "timetz": lambda: structured.times(key),
            "interval": lambda: structured.intervals(measures.scaled(key, within)),
            "tsvector": lambda: structured.lexemes(text),
            "hstore": lambda: structured.stores(text, self._names(), self._odd),
            "xml": lambda: markup(text),
        }
        return made.get(type_.name, lambda: binaries.addresses(key, unique=unique))()

    def _document(self) -> Masker:
        rules = self._plan.paths
        maskers = {
            f"rule {place}": self._leaf(rule.rule.mask, rule.rule.value) for place, rule in enumerate(rules)
        }
        maskers |= {mask: self._leaf(mask, None) for mask in ("text", "number", *_PEOPLE)}

        def mask_for(path: str, kind: str) -> str:
            for place, rule in enumerate(rules):
                if fnmatchcase(path, rule.path):
                    return KEEP if rule.rule.mask == KEEP else f"rule {place}"
            if kind == "boolean":
                return KEEP
            if kind == "number":
                return "number"
            named = kind_for(path.rpartition(".")[2])
            return named if named in _PEOPLE else "text"

        return structured.documents(mask_for, maskers, self._names(), self._odd)

    def _names(self) -> Masker:
        """Of a document's keys; where two became one, what the first is for would be lost."""
        return texts(self._key("text"), Shape(unique=True))

    def _odd(self, path: str, key: str) -> bool:
        """Whether a key is data: as a rule for the keys at its path says, else by its looks."""
        for rule in self._plan.paths:
            if rule.path.endswith(KEYS) and fnmatchcase(path, rule.path.removesuffix(KEYS)):
                return rule.rule.mask != KEEP
        return not structured.plain(key)

    def _leaf(self, mask: str, value: str | None) -> Masker:
        if mask == "number":
            within = self._plan.rule.within or DEFAULT_SHARE
            return _numbers_or_text(
                measures.numbers(self._key("number"), within, Shape(), whole=False),
                texts(self._key("text"), Shape(unique=self._plan.injective)),
            )
        if mask == "date":
            return self._date(DataType("timestamp", "timestamp"))
        return self._alone("text" if mask in {"auto", "json"} else mask, DataType("text", "text"), value)


def _numbers_or_text(number: Masker, text: Masker) -> Masker:
    """A rule for numbers may meet a string in a document; it is masked all the same."""

    def mask(values: pl.Series) -> pl.Series:
        try:
            return number(values)
        except masks.UnreadableError:
            return text(values)

    return mask


def _kept(values: pl.Series) -> pl.Series:
    return values


def _most(type_: DataType) -> float | None:
    if type_.name in INTEGERS and type_.name != "int8":
        return float(INTEGERS[type_.name])
    if type_.name == "int8":
        return 9.2e18
    if type_.name == "numeric" and type_.precision is not None:
        scale = type_.scale or 0
        return 10.0 ** (type_.precision - scale) - 10.0**-scale
    return None


def _higher(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _lower(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
