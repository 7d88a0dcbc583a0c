"""Where in a statement its values stand: compared with a column, inserted into one, or elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehearse.workload.evidence.shape import Atom, Shape

_NOT_ALIAS_LIST = """
    WHERE SET VALUES SELECT JOIN INNER LEFT RIGHT FULL CROSS NATURAL ON USING ORDER GROUP LIMIT
    OFFSET HAVING RETURNING DEFAULT FOR UNION EXCEPT INTERSECT WINDOW FETCH OVERRIDING AS
    TABLESAMPLE
"""
_NOT_ALIASES = frozenset(_NOT_ALIAS_LIST.split())
_COMPARING = frozenset("=<>!")
_LIKE = frozenset({"LIKE", "ILIKE"})
_MAY_PRECEDE_LIST = """
    WHERE AND OR NOT ON WHEN SET HAVING CASE ELSE THEN SELECT DISTINCT RETURNING BETWEEN FILTER
"""
_MAY_PRECEDE = frozenset(_MAY_PRECEDE_LIST.split())
_ENDS_OPERAND = frozenset("+-*/%|&#^~@?[")


@dataclass(frozen=True, slots=True)
class Named:
    """A table in a statement; `schema` is empty where none is said, `alias` the name columns go by."""

    schema: str
    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column as a statement names it; `qualifier` is empty where it has none."""

    qualifier: str
    column: str
    inserted: bool = False
    exact: bool = True  # compared by = or IN, or assigned


@dataclass(frozen=True, slots=True)
class Places:
    """The tables of a statement, and of each slot the column that it meets, or the word that it follows."""

    tables: tuple[Named, ...]
    columns: tuple[ColumnRef | None, ...]
    follows: tuple[str, ...]
    casts: tuple[str, ...]  # the type in `$1::type`; empty where there is none


def places_of(shape: Shape) -> Places:
    """Reads `shape`; a slot in an expression meets no column."""
    atoms = shape.atoms
    tables = tuple(_tables(atoms))
    columns: list[ColumnRef | None] = [None] * len(shape.slots)
    follows = [""] * len(shape.slots)
    casts = [slot.cast for slot in shape.slots]
    for place, atom in enumerate(atoms):
        if atom.slot is not None:
            columns[atom.slot] = _compared(atoms, place)
            follows[atom.slot] = atoms[place - 1].upper or atoms[place - 1].text if place else ""
            if [after.text for after in atoms[place + 1 : place + 2]] == ["::"]:
                casts[atom.slot] = casts[atom.slot] or atoms[place + 2].identifier
    for slot, reference in _inserted(atoms):
        columns[slot] = reference
    return Places(tables, tuple(columns), tuple(follows), tuple(casts))


def _tables(atoms: Sequence[Atom]) -> Iterator[Named]:
    depth = 0
    from_depths: list[int] = []
    for place, atom in enumerate(atoms):
        depth += {"(": 1, ")": -1}.get(atom.text, 0)
        before = atoms[place - 1].upper if place else ""
        word = atom.upper
        if word == "FROM":
            from_depths.append(depth)
        elif word in {"WHERE", "SET", "GROUP", "ORDER", "LIMIT", "SELECT"} and from_depths[-1:] == [depth]:
            from_depths.pop()
        starts = word in {"FROM", "JOIN", "INTO", "USING"} or (
            word == "UPDATE" and before not in {"FOR", "DO", "KEY"}
        )
        if starts or (atom.text == "," and from_depths[-1:] == [depth]):
            named = _named(atoms, place + 1, into=word == "INTO")
            if named is not None:
                yield named


def _named(atoms: Sequence[Atom], place: int, *, into: bool) -> Named | None:
    while place < len(atoms) and atoms[place].upper in {"ONLY", "LATERAL"}:
        place += 1
    names: list[str] = []
    while place < len(atoms) and atoms[place].identifier:
        names.append(atoms[place].identifier)
        place += 1
        if place >= len(atoms) or atoms[place].text != ".":
            break
        place += 1
    calls = place < len(atoms) and atoms[place].text == "(" and not into
    if not names or len(names) > 2 or calls:
        return None
    if place < len(atoms) and atoms[place].upper == "AS":
        place += 1
    alias = names[-1]
    if place < len(atoms) and atoms[place].identifier and atoms[place].upper not in _NOT_ALIASES:
        alias = atoms[place].identifier
    return Named(names[0] if len(names) > 1 else "", names[-1], alias)


def _compared(atoms: Sequence[Atom], place: int) -> ColumnRef | None:
    """`col = $1`, `$1 = col`, `col IN ($1, ...)`, `col BETWEEN $1 AND $2`, `col LIKE $1`."""
    after = atoms[place + 1] if place + 1 < len(atoms) else None
    if after is not None and after.slot is None and after.text in _ENDS_OPERAND:
        return None
    left = place - 1
    while left >= 0 and atoms[left].slot is None and atoms[left].text in _COMPARING:
        left -= 1
    if left < place - 1:
        operator = "".join(atom.text for atom in atoms[left + 1 : place])
        return _column_before(atoms, left + 1, exact=operator == "=")
    word = atoms[left].upper if left >= 0 else ""
    if word in _LIKE or word == "BETWEEN":
        at = left - (1 if left and atoms[left - 1].upper == "NOT" else 0)
        return _column_before(atoms, at, exact=False)
    if (
        word == "AND"
        and left >= 2
        and atoms[left - 1].slot is not None
        and atoms[left - 2].upper == "BETWEEN"
    ):
        return _column_before(atoms, left - 2, exact=False)
    return _in_list(atoms, left) or _column_after(atoms, place)


def _in_list(atoms: Sequence[Atom], place: int) -> ColumnRef | None:
    while place > 0 and (atoms[place].slot is not None or atoms[place].text == ","):
        place -= 1
    if place < 2 or atoms[place].text != "(" or atoms[place - 1].upper != "IN":
        return None
    at = place - 1
    return _column_before(atoms, at - (1 if atoms[at - 1].upper == "NOT" else 0), exact=True)


def _column_before(atoms: Sequence[Atom], end: int, *, exact: bool) -> ColumnRef | None:
    """The column whose name ends before `end`, if it stands there by itself."""
    names: list[str] = []
    place = end - 1
    while place >= 0 and atoms[place].identifier:
        names.insert(0, atoms[place].identifier)
        place -= 1
        if place < 0 or atoms[place].text != ".":
            break
        place -= 1
    if not names or len(names) > 3:
        return None
    before = atoms[place] if place >= 0 else None
    if before is not None and before.text not in {"(", ","} and before.upper not in _MAY_PRECEDE:
        return None
    return ColumnRef(names[-2] if len(names) > 1 else "", names[-1], exact=exact)


def _column_after(atoms: Sequence[Atom], place: int) -> ColumnRef | None:
    right = place + 1
    while right < len(atoms) and atoms[right].slot is None and atoms[right].text in _COMPARING:
        right += 1
    if right == place + 1 or right >= len(atoms) or not atoms[right].identifier:
        return None
    operator = "".join(atom.text for atom in atoms[place + 1 : right])
    names = [atoms[right].identifier]
    if right + 2 < len(atoms) and atoms[right + 1].text == "." and atoms[right + 2].identifier:
        names.append(atoms[right + 2].identifier)
        right += 2
    after = atoms[right + 1] if right + 1 < len(atoms) else None
    if after is not None and (after.text in _ENDS_OPERAND or after.text == "("):
        return None
    return ColumnRef(names[0] if len(names) > 1 else "", names[-1], exact=operator == "=")


def _inserted(atoms: Sequence[Atom]) -> Iterator[tuple[int, ColumnRef]]:
    """`INSERT INTO t (a, b) VALUES ($1, $2), ...`: each slot that is a value by itself, and its column."""
    words = [atom.upper for atom in atoms]
    if "INTO" not in words or "VALUES" not in words or "INSERT" not in words:
        return
    values = words.index("VALUES")
    names = _column_list(atoms, words.index("INTO") + 1, values)
    depth, column = 0, 0
    for place in range(values + 1, len(atoms)):
        atom = atoms[place]
        depth += {"(": 1, ")": -1}.get(atom.text, 0)
        if depth == 0 and atom.text not in {",", ")"}:
            return
        if atom.text == "(" and depth == 1:
            column = 0
        elif atom.text == "," and depth == 1:
            column += 1
        elif atom.slot is not None and depth == 1 and column < len(names) and _stands_alone(atoms, place):
            yield atom.slot, ColumnRef("", names[column], inserted=True)


def _stands_alone(atoms: Sequence[Atom], place: int) -> bool:
    return atoms[place - 1].text in {"(", ","} and atoms[place + 1].text in {")", ",", "::"}


def _column_list(atoms: Sequence[Atom], start: int, end: int) -> list[str]:
    listed = [place for place in range(start, end) if atoms[place].text == "("]
    if not listed:
        return []
    return [atom.identifier for atom in atoms[listed[0] + 1 : end] if atom.identifier]
