"""Which masks suit a type: what is suggested, what fits, and what needs none."""

from __future__ import annotations

from collections.abc import Mapping

from rehearse.dataset.masking.columns import (
    DATES,
    FLOATS,
    INTEGERS,
    PARTS,
    TEXTS,
    base_type,
    bound_type,
    facts_of,
    unique_columns,
)
from rehearse.dataset.masking.rules import KEEP
from rehearse.dataset.vocabulary import kind_for
from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Column, DataType, Table, TypeKind

_PEOPLE = frozenset({"email", "first_name", "last_name", "name", "phone"})
_BY_TYPE: Mapping[str, str] = {
    "bool": KEEP,
    "uuid": "key",
    "json": "json",
    "jsonb": "json",
    "numeric": "number",
    **dict.fromkeys((*INTEGERS, *FLOATS), "number"),
    **dict.fromkeys(DATES, "date"),
    **dict.fromkeys(PARTS, "text"),
}
# characters that it takes until no two values meet
_TOLD_APART_BY: Mapping[str, int] = {"name": 13, "first_name": 13, "last_name": 13, "hash": 16}
_OF_TEXT = frozenset({"name", "first_name", "last_name", "email", "phone", "text", "hash"})


def suggested(column: Column, table: Relation) -> str | None:
    """The mask that type and name suggest; None: there is none for such a type."""
    return suggested_for(base_type(column.type), column.name, table.name)


def kind_of_key(column: Column) -> str:
    """Columns of one kind are masked alike where their values are equal."""
    name = base_type(column.type).name
    if name in TEXTS:
        return "text"
    if name in DATES:
        return "date"
    return "number" if name in INTEGERS or name == "numeric" else name


def has_parts(column: Column) -> bool:
    """Whether a rule can name parts of its values by a path."""
    type_ = base_type(column.type)
    while type_.kind is TypeKind.ARRAY and type_.element is not None:
        type_ = base_type(type_.element)
    return type_.kind is TypeKind.COMPOSITE or type_.name in {"json", "jsonb", "hstore"}


def suggested_for(type_: DataType, name: str, table: str) -> str | None:
    """As `suggested`, for a type that is no domain."""
    while type_.kind is TypeKind.ARRAY and type_.element is not None:
        type_ = base_type(type_.element)
    if type_.kind is TypeKind.ENUM:
        return KEEP
    if type_.kind is TypeKind.COMPOSITE:
        inner = (suggested_for(base_type(t), n, table) for n, t in type_.attributes)
        return "text" if all(mask is not None for mask in inner) else None
    if type_.kind in {TypeKind.RANGE, TypeKind.MULTIRANGE} and type_.element is not None:
        return suggested_for(base_type(type_.element), name, table)
    if type_.name in TEXTS:
        kind = kind_for(name, table)
        return kind if kind in _PEOPLE else "text"
    return _BY_TYPE.get(type_.name)


def safe_as(table: Table, column: Column) -> str:
    """Why a column's values may go through although no rule says so; empty: they may not."""
    type_ = base_type(column.type)
    if type_.name == "bool":
        return "a boolean tells nobody from another"
    if type_.kind is TypeKind.ENUM:
        return f"the values of the enum {type_.sql} stand in the schema"
    values = facts_of(table, column.name, of_all_rows=True).one_of
    if values is not None:
        return f"a CHECK lists its {len(values)} values in the schema"
    return ""


def reason_for(mask: str, column: Column) -> str:
    """What the mask does, for people."""
    if mask == "text" and base_type(column.type).name not in TEXTS:
        return f"a {column.type.sql}, masked part by part"
    return {
        KEEP: "its parts tell nobody from another",
        "key": "permuted in its domain",
        "number": "times a factor that depends on the value",
        "date": "bent in time, order kept",
        "json": "every leaf masked",
        "text": "letters and digits replaced",
    }.get(mask, "replaced by one that is made up")


def require_fit(where: str, table: Table, column: Column, mask: str) -> None:
    """InputError, which says `where`, if the mask cannot make values of the column's type."""
    type_ = base_type(column.type)
    if mask == "null" and (column.not_null or column.type.domain_not_null):
        raise InputError(f"{where} is NOT NULL", "choose another mask")
    if mask in {KEEP, "null", "constant"}:
        return
    if mask == "number" and any(column.name in key.columns for key in table.keys):
        raise InputError(f"{where} is in a unique key, and number may make two values meet", '"key" fits')
    while type_.kind is TypeKind.ARRAY and type_.element is not None:
        type_ = base_type(type_.element)
    type_ = bound_type(type_)
    integer = type_.name in INTEGERS
    fits = {
        "number": integer or type_.name in FLOATS or type_.name == "numeric",
        "date": type_.name in DATES,
        "json": type_.name in {"json", "jsonb"},
        "key": integer or type_.name in {"uuid", "numeric"} or type_.name in TEXTS,
    }
    text = type_.name in TEXTS or (
        mask == "text" and (type_.name in PARTS or type_.kind is TypeKind.COMPOSITE)
    )
    if not fits.get(mask, mask in _OF_TEXT and text):
        better = suggested(column, table.relation)
        if better == "number" and mask == "key":  # which would be refused as well, in a key
            better = None
        mend = f'"{better}" fits' if better else "keep, null and constant are for any type"
        raise InputError(f"{where} is of type {column.type.sql}, which {mask} does not make", mend)
    longest = type_.length
    unique = column.name in unique_columns(table)
    if unique and mask in _TOLD_APART_BY and longest is not None and longest < _TOLD_APART_BY[mask]:
        raise InputError(f"{where} is too short for a {mask} that no other value has", '"text" fits')
    if mask == "email" and longest is not None and longest < 25:
        raise InputError(f"{where} is too short for a masked address ({longest} characters)", '"text" fits')
