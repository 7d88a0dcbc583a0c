"""Names of relations as the catalog holds them, unquoted and unfolded."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")


def quote_name(name: str) -> str:
    """`name` as it has to be written in SQL; for people to read, never to build SQL from."""
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A table, index, view or sequence by schema and name, exactly as the catalog spells them."""

    schema: str
    name: str

    def __str__(self) -> str:
        if self.schema == "public":
            return quote_name(self.name)
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"
