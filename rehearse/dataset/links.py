"""References between tables: which of them decide a column, and how those that share columns agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rehearse.dataset.exclusions import KeyNeed
from rehearse.dataset.facts import Facts
from rehearse.dataset.needs import TableNeed
from rehearse.model.relation import Relation

# How a link gets its parent row
LEAD = "lead"  # drawn freely; it decides all of its columns
WITHIN = "within"  # some of its columns are decided: drawn among the parent rows that agree
IMPLIED = "implied"  # all of its columns are decided by others
ITSELF = "itself"  # within its own table, with a column that refers to itself: every row is its own parent
_ROOT_KEY = "key"


@dataclass(frozen=True, slots=True)
class Stratum:
    """Where a link's shared columns come from: the link `lead` of the same table, and, unless that one's
    parent is the root itself, the link `through` of its parent that leads to the root.

    `inner` is the link of this link's own parent to the same root: it goes round robin.
    """

    root: Relation
    lead: int
    through: int | None
    inner: int


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key (or a column that is one by its name, `soft`) and how it is drawn."""

    name: str
    columns: tuple[str, ...]
    parent: Relation
    parent_columns: tuple[str, ...]
    soft: bool = False
    whole_match: bool = False  # MATCH FULL: all columns NULL or none
    role: str = LEAD
    decides: tuple[str, ...] = ()  # the columns whose value it provides
    stratum: Stratum | None = None

    def column_for(self, column: str) -> str:
        """The parent's column that `column` refers to."""
        return self.parent_columns[self.columns.index(column)]


Links = dict[Relation, tuple[Link, ...]]


def links_of(needs: Mapping[Relation, TableNeed]) -> tuple[Mapping[Relation, TableNeed], Links]:
    """Every table's links in the order in which they decide columns, and the needs, which may have grown
    by imaginary roots (see `_roots`).
    """
    found = {relation: tuple(_ordered(need, needs)) for relation, need in needs.items()}
    agreed = _agreeing(_without_circles(found))
    grown = dict(needs)
    for root, key, places in _roots(needs, agreed):
        if is_imaginary(root):
            grown[root] = _imaginary(root, needs, places)
            found[root] = ()
        for relation, column in sorted(places):
            link = Link(f"{root}.{key}", (column,), root, (key,), soft=True)
            if relation != root and all(link.columns != other.columns for other in found[relation]):
                found[relation] = (link, *found[relation])
    return grown, _agreeing(_without_circles(found))


def is_imaginary(relation: Relation) -> bool:
    """Whether it stands for no table of the database."""
    return not relation.schema


def _agreeing(roles: Links) -> Links:
    return {
        relation: tuple(
            _agreed(relation, place, links, roles) if link.role == WITHIN else link
            for place, link in enumerate(links)
        )
        for relation, links in roles.items()
    }


def _roots(
    needs: Mapping[Relation, TableNeed], links: Links
) -> Iterator[tuple[Relation, str, set[tuple[Relation, str]]]]:
    """For columns that foreign keys share without a way to agree on them: the key of a table that all of
    them come from in the end, and the columns that are to refer to it directly.

    There may be no such table: an `org_id` in every key, but no table of organisations. Then it is an
    imaginary one, that is never loaded.
    """
    decided = {
        (relation, column): (link.parent, link.column_for(column))
        for relation, own in links.items()
        for link in own
        for column in link.decides
    }
    groups: list[tuple[set[tuple[Relation, str]], set[tuple[Relation, str]]]] = []
    for relation, own in links.items():
        for link in own:
            shared = [column for column in link.columns if column not in link.decides]
            stuck = link.role == ITSELF or (link.role == WITHIN and link.stratum is None)
            if not stuck or len(shared) != 1:
                continue
            chains = [
                _chain(decided, place)
                for place in ((relation, shared[0]), (link.parent, link.column_for(shared[0])))
            ]
            places, ends = set(chains[0] + chains[1]), {chain[-1] for chain in chains}
            for group in [group for group in groups if group[0] & places]:
                groups.remove(group)
                places, ends = places | group[0], ends | group[1]
            groups.append((places, ends))
    for places, ends in groups:
        keys = {(relation, column) for relation, column in ends if _is_key(needs, relation, column)}
        if len(ends) == 1 and keys:
            ((root, key),) = keys
            yield root, key, places - keys
        elif not keys and _of_one_type(needs, ends):
            first, column = min(ends)
            yield Relation("", f"{first}.{column}"), _ROOT_KEY, places


def _chain(
    decided: Mapping[tuple[Relation, str], tuple[Relation, str]], place: tuple[Relation, str]
) -> list[tuple[Relation, str]]:
    """The places that a column's value comes through, up to where it is made."""
    chain = [place]
    while chain[-1] in decided:
        chain.append(decided[chain[-1]])
    return chain


def _is_key(needs: Mapping[Relation, TableNeed], relation: Relation, column: str) -> bool:
    return any(key.columns == (column,) and key.predicate is None for key in needs[relation].keys)


def _of_one_type(needs: Mapping[Relation, TableNeed], places: set[tuple[Relation, str]]) -> bool:
    columns = [needs[relation].columns.get(column) for relation, column in places]
    return None not in columns and len({column.type for column in columns if column is not None}) == 1


def _imaginary(
    root: Relation, needs: Mapping[Relation, TableNeed], places: set[tuple[Relation, str]]
) -> TableNeed:
    columns = [needs[relation].columns[column] for relation, column in sorted(places)]
    facts = Facts()
    for column in columns:
        facts = facts.also(column.facts)
    key = replace(columns[0], name=_ROOT_KEY, facts=facts, not_null=True, counted=False)
    return TableNeed(root, {_ROOT_KEY: key}, (KeyNeed(str(root), (_ROOT_KEY,)),), (), (), (), ())


def _agreed(relation: Relation, place: int, links: tuple[Link, ...], roles: Links) -> Link:
    link = links[place]
    stratum = _stratum(place, links, roles)
    shared = [column for column in link.columns if column not in link.decides]
    if stratum is None and link.parent == relation and all(link.column_for(c) == c for c in shared):
        return replace(link, role=ITSELF)
    return replace(link, stratum=stratum)


def _ordered(need: TableNeed, needs: Mapping[Relation, TableNeed]) -> Iterator[Link]:
    hard: dict[tuple[frozenset[tuple[str, str]], Relation], Link] = {}
    for key in need.references:
        # a reference from a generated column follows from what it is generated from
        if key.parent in needs and all(column in need.columns for column in key.columns):
            pairs = frozenset(zip(key.columns, key.parent_columns, strict=True))
            full = "MATCH FULL" in key.definition
            link = Link(key.name, key.columns, key.parent, key.parent_columns, whole_match=full)
            hard.setdefault((pairs, key.parent), link)
    yield from sorted(
        hard.values(), key=lambda link: (link.parent == need.relation, len(link.columns), link.name)
    )
    taken = {column for link in hard.values() for column in link.columns}
    yield from (link for link in _soft(need, needs) if link.columns[0] not in taken)


def _soft(need: TableNeed, needs: Mapping[Relation, TableNeed]) -> Iterator[Link]:
    """`customer_id` with no foreign key still means a customer, where there is such a table."""
    alone = {key.columns[0] for key in need.keys if len(key.columns) == 1}
    for column in need.columns.values():
        stem = column.name.removesuffix("_id")
        if (
            stem == column.name
            or not stem
            or column.name in alone
            or column.given.own
            or column.facts != _nothing(column.not_null)
        ):
            continue
        for name in (stem, f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"):
            parent = Relation(need.relation.schema, name)
            if parent == need.relation or parent not in needs:
                continue
            for key in needs[parent].keys:
                if key.columns in {("id",), (column.name,)} and key.predicate is None:
                    if needs[parent].columns[key.columns[0]].type == column.type:
                        yield Link(column.name, (column.name,), parent, key.columns, soft=True)
                    break
            break


def _nothing(not_null: bool) -> Facts:
    return Facts(not_null=not_null)


def _without_circles(found: Links) -> Links:
    """Roles for every link. A column that would in the end be decided by itself keeps its own values:
    keys count from one everywhere, so they meet all the same.
    """
    decided: dict[tuple[Relation, str], tuple[Relation, str]] = {}
    result: Links = {}
    for relation, links in found.items():
        settled: list[Link] = []
        for link in links:
            mine = [column for column in link.columns if (relation, column) not in decided]
            role = LEAD if len(mine) == len(link.columns) else WITHIN
            if link.parent == relation and any(link.column_for(column) == column for column in mine):
                role = ITSELF
                mine = [column for column in mine if link.column_for(column) != column]
            trial = dict(decided)
            for column in mine:
                # one after the other: two columns of one link can close a circle between them
                if not _comes_back(trial, (relation, column), (link.parent, link.column_for(column))):
                    trial[relation, column] = (link.parent, link.column_for(column))
            if not mine or not all((relation, column) in trial for column in mine):
                settled.append(replace(link, role=IMPLIED))
                continue
            decided = trial
            settled.append(replace(link, role=role, decides=tuple(mine)))
        result[relation] = tuple(settled)
    return result


def _comes_back(
    decided: Mapping[tuple[Relation, str], tuple[Relation, str]],
    start: tuple[Relation, str],
    place: tuple[Relation, str],
) -> bool:
    while place in decided:
        if place == start:
            return True
        place = decided[place]
    return place == start


def _stratum(place: int, links: tuple[Link, ...], all_links: Links) -> Stratum | None:
    """How `links[place]` can agree with the link that decided the columns it shares; None if it cannot."""
    link = links[place]
    shared = [column for column in link.columns if column not in link.decides]
    lead = next((n for n, other in enumerate(links) if set(shared) <= set(other.decides)), None)
    if lead is None:
        return None
    first = links[lead]
    mapped = [first.column_for(column) for column in shared]
    wanted = [link.column_for(column) for column in shared]
    for inner, candidate in enumerate(all_links.get(link.parent, ())):
        if candidate.role != LEAD or set(candidate.columns) != set(wanted):
            continue
        root_columns = [candidate.column_for(column) for column in wanted]
        if candidate.parent == first.parent and root_columns == mapped:
            return Stratum(candidate.parent, lead, None, inner)
        for through, other in enumerate(all_links.get(first.parent, ())):
            if other.role != LEAD or set(other.columns) != set(mapped) or other.parent != candidate.parent:
                continue
            if [other.column_for(column) for column in mapped] == root_columns:
                return Stratum(candidate.parent, lead, through, inner)
    return None
