"""Partition bounds as facts about columns, so that every generated row has a partition to go to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from rehearse.dataset.facts import Facts
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema, Table, TableKind

_ITEM = re.compile(r"'(?:[^']|'')*'|MINVALUE|MAXVALUE|NULL|-?[\d.]+(?:[eE][-+]?\d+)?|true|false")
_MODULUS = re.compile(r"modulus (\d+)", re.IGNORECASE)
_COLUMN = re.compile(r'("(?:[^"]|"")+"|[^\W\d][\w$]*)(?:\s+.*)?\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """What the bounds of a partitioned table's leaves say. `leaves` 0: no row has a home.

    `open_ended`: a default partition takes whatever no other one does. `unclear`: keys that are
    expressions, which say nothing about a single column here, or hashes some of which have no partition.
    """

    leaves: int
    columns: Mapping[str, Facts]
    open_ended: bool = False
    unclear: bool = False


# the pieces that one leaf allows each column; a column that is absent may be anything
_Box = dict[str, Facts]


def partition_facts(schema: Schema, root: Table) -> PartitionFacts:
    """The facts of all leaves below `root`, or of the largest family of them that can be filled by
    choosing every column by itself.
    """
    children: dict[Relation, list[Table]] = {}
    for table in schema.tables:
        if table.partition_of is not None:
            children.setdefault(table.partition_of, []).append(table)
    boxes = list(_boxes(root, children))
    defaults = sum(box is None for box in boxes)
    bounded = _family([box for box in boxes if box is not None])
    columns = {
        name: _union([box[name] for box in bounded])
        for name in dict.fromkeys(name for box in bounded for name in box)
    }
    return PartitionFacts(len(boxes), columns, open_ended=defaults > 0, unclear=_unclear(root, children))


def bound_facts(parent: Table, partition: Table) -> Mapping[str, Facts]:
    """What one partition's own bound says about its columns."""
    if partition.partition_bound is None or parent.partition_key is None:
        return {}
    return _bound(parent.partition_key, partition.partition_bound) or {}


def _boxes(table: Table, children: Mapping[Relation, list[Table]]) -> Iterator[_Box | None]:
    """One box a leaf; None for the default partition."""
    for child in children.get(table.relation, []):
        if table.partition_key is None or child.partition_bound is None or child.kind is TableKind.FOREIGN:
            continue
        own = _bound(table.partition_key, child.partition_bound)
        if child.kind is not TableKind.PARTITIONED:
            yield own
            continue
        for inner in _boxes(child, children):
            yield None if own is None or inner is None else own | inner


def _unclear(table: Table, children: Mapping[Relation, list[Table]]) -> bool:
    if table.partition_key is not None:
        method, columns = _key(table.partition_key)
        if method == "HASH" and _has_gap(children.get(table.relation, [])):
            return True
        if method != "HASH" and None in columns:
            return True
    return any(_unclear(child, children) for child in children.get(table.relation, []))


def _has_gap(partitions: list[Table]) -> bool:
    """Whether some remainders of a hash have no partition: they do not overlap, so their shares add up."""
    shares = [
        Fraction(1, int(match[1]))
        for partition in partitions
        if (match := _MODULUS.search(partition.partition_bound or ""))
    ]
    return bool(shares) and sum(shares) < 1


def _family(boxes: list[_Box]) -> list[_Box]:
    """Boxes whose columns can be chosen independently: all of them if they are a product, else those
    that share the most common piece of the first column, and so on inwards.
    """
    columns = list(dict.fromkeys(name for box in boxes for name in box))
    for column in columns:
        sizes = [len({box.get(name) for box in boxes}) for name in columns]
        product = 1
        for size in sizes:
            product *= size
        if product == len(boxes):
            return boxes
        commonest, _ = Counter(box.get(column) for box in boxes).most_common(1)[0]
        boxes = [box for box in boxes if box.get(column) == commonest]
    return boxes


def _union(pieces: list[Facts]) -> Facts:
    different = list(dict.fromkeys(pieces))
    if any(piece.one_of is not None for piece in different):
        items = [item for piece in different for item in piece.one_of or ()]
        return Facts(one_of=tuple(dict.fromkeys(items)), not_null=True)
    intervals = tuple(interval for piece in different for interval in piece.intervals)
    return Facts(intervals=intervals, not_null=True)


def _bound(key: str, bound: str) -> _Box | None:
    if bound == "DEFAULT":
        return None
    method, columns = _key(key)
    if method == "HASH":
        return {}
    if method == "LIST":
        items = tuple(item for item in _constants(bound) if item is not None)
        name = columns[0]
        return {name: Facts(one_of=items)} if name is not None and items else {}
    match = re.fullmatch(r"FOR VALUES FROM \((.*)\) TO \((.*)\)", bound, re.DOTALL)
    if match is None:
        return {}
    lows, highs = (_range_ends(part) for part in match.groups())
    return _range_box(columns, lows, highs)


def _range_box(columns: list[str | None], lows: list[str | None], highs: list[str | None]) -> _Box:
    """A range over several columns is ordered like words: where the first ones agree the next decides.

    Only the plain inside is used: the first column between its bounds, or, where these are the same,
    fixed to that value and the next column between its own.
    """
    box: _Box = {}
    for name, low, high in zip(columns, lows, highs, strict=True):
        if low is not None and low == high:
            if name is not None:
                box[name] = Facts(one_of=(low,))
            continue
        if name is not None:
            last = len(columns) == 1 or name == columns[-1]
            # the low end itself belongs to the range only as far as the next column allows
            box[name] = Facts(intervals=((low if last else _after(low), high),))
        break
    return box


def _after(low: str | None) -> str | None:
    """The next whole number, where it is one: a bound on the column alone that leaves the low end out."""
    return str(int(low) + 1) if low is not None and re.fullmatch(r"-?\d+", low) else low


def _key(key: str) -> tuple[str, list[str | None]]:
    """`RANGE (a, lower(b))` as its method and columns, None in the place of an expression."""
    method, _, rest = key.partition(" ")
    items: list[str] = []
    depth, quoted, current = 0, False, ""
    for character in rest.strip()[1:-1]:
        if character == '"':
            quoted = not quoted
        depth += (character == "(") - (character == ")") if not quoted else 0
        if character == "," and depth == 0 and not quoted:
            items.append(current)
            current = ""
        else:
            current += character
    return method, [_plain(item.strip()) for item in [*items, current]]


def _plain(item: str) -> str | None:
    match = _COLUMN.match(item)
    if match is None or "(" in item:
        return None
    name = match.group(1)
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _constants(text: str) -> list[str | None]:
    return [_literal(item) for item in _ITEM.findall(text[text.index("(") :])]


def _range_ends(text: str) -> list[str | None]:
    return [_literal(item) for item in _ITEM.findall(text)]


def _literal(item: str) -> str | None:
    if item in {"MINVALUE", "MAXVALUE", "NULL"}:
        return None
    return item[1:-1].replace("''", "'") if item.startswith("'") else item
