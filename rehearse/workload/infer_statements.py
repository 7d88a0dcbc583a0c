"""The text of inferred scripts: comments, draws and one statement that names all its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rehearse.model.relation import Relation
from rehearse.workload.infer_names import comment, draw, quoted

_ORIGIN = "Inferred from the schema: edit it as you like, or write what your application really sends."


@dataclass(frozen=True, slots=True)
class Draft:
    """A script without its weight; `importance` is its part of the weight of those that do the like."""

    name: str
    text: str
    importance: int = 1


def script(purpose: str, draws: Iterable[str], clauses: Sequence[str]) -> str:
    """A script of one statement, whose clauses stand on lines of their own."""
    head = comment(purpose) + comment(_ORIGIN)
    return head + "".join(f"{line}\n" for line in draws) + "\n".join(clauses) + ";\n"


def draws(kind: str, relation: Relation, names: Mapping[str, str]) -> list[str]:
    """A `\\set` line for each column and its variable."""
    return [f"\\set {variable} {draw(kind, relation, column)}" for column, variable in names.items()]


def column_list(columns: Iterable[str], alias: str = "") -> str:
    """Columns by name, after `alias.` if there is one."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quoted(column) for column in columns)


def equals(names: Mapping[str, str], alias: str = "") -> str:
    """`a = :a AND b = :b` for columns and their variables."""
    prefix = f"{alias}." if alias else ""
    return " AND ".join(f"{prefix}{quoted(column)} = :{variable}" for column, variable in names.items())


def select_list(*lists: str) -> str:
    """`SELECT` and all that is not empty of `lists`; a table may have no column at all."""
    return " ".join(("SELECT", ", ".join(text for text in lists if text))).rstrip()
