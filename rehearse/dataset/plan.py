"""From a schema (and what a migration will make of it) to the plan of a data set. Pure: no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rehearse.dataset.allotment import Allotment, Surroundings
from rehearse.dataset.counts import Targets, targets
from rehearse.dataset.design import Designer
from rehearse.dataset.exclusions import KeyNeed
from rehearse.dataset.generators import Wishes
from rehearse.dataset.keys import KeySpec
from rehearse.dataset.kinds import UnsupportedTypeError, flattened
from rehearse.dataset.lattices import counted_within
from rehearse.dataset.links import LEAD, WITHIN, Link, Links, is_imaginary, links_of
from rehearse.dataset.needs import TableNeed, needs_of, without_key
from rehearse.dataset.recipe import DatasetPlan, TableRecipe
from rehearse.dataset.values import Lattice
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation, quote_name
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import Schema, TypeKind

# rows that share a value (of one tenant, say) where tables have to agree on it
_ROWS_PER_GROUP = 5
# what counts that were given in two ways may differ by
_TOLERANCE = 0.01
_NONE = Wishes()


class _NoRoomError(Exception):
    """A key that the migration adds allows fewer rows than were asked for."""

    def __init__(self, relation: Relation, key: KeyNeed, limit: int) -> None:
        super().__init__(str(relation))
        self.relation, self.key, self.limit = relation, key, limit


def plan_dataset(
    before: Schema,
    after: Schema | None,
    rows: RowCounts,
    *,
    touched: frozenset[Relation],
    loaded: Mapping[Relation, int],
    seed: int,
    wishes: Wishes = _NONE,
) -> DatasetPlan:
    """How many rows each table gets and how every column of them is made, for both schemas at once.

    `after` is what the migration makes of `before` in an empty copy of the same database. `touched` are
    the tables that it works on, `loaded` the rows of those that a seed file filled; `wishes` say what
    columns and references are to be like. Raises DatasetError for counts that the keys have no room for,
    and for columns that cannot be filled. A key that the migration adds, and that cannot hold for a count
    that was asked for, is left to fail.
    """
    needs, precautions = needs_of(before, after)
    needs = {relation: _described(need, wishes) for relation, need in needs.items()}
    hopeless: list[str] = []
    while True:
        try:
            plan = _planned(before, needs, rows, touched=touched, loaded=loaded, seed=seed, wishes=wishes)
        except _NoRoomError as error:
            need = needs[error.relation]
            needs[error.relation], precautions = without_key(need, error.key, precautions)
            hopeless.append(_hopeless(error))
            continue
        kept = tuple(words for words in precautions if not _contradicted(words, wishes))
        return replace(plan, precautions=kept, notes=(*hopeless, *plan.notes))


def _hopeless(error: _NoRoomError) -> str:
    key = error.key
    columns = ", ".join(map(quote_name, key.columns))
    return (
        f"{error.relation} has duplicates in ({columns}): {quote_name(key.name)}, which the migration adds, "
        f"allows at most {error.limit:,} different rows, fewer than were asked for"
    )


def _planned(
    before: Schema,
    needs: Mapping[Relation, TableNeed],
    rows: RowCounts,
    *,
    touched: frozenset[Relation],
    loaded: Mapping[Relation, int],
    seed: int,
    wishes: Wishes,
) -> DatasetPlan:
    """The plan for these needs, without precautions. Raises _NoRoomError for a key to be left to fail."""
    wanted = targets(before, needs, rows, touched, loaded)
    if rows.default is None:
        free = wishes.rows.keys() & wanted.rows.keys() - wanted.explicit - loaded.keys()
        wanted.rows.update({relation: wishes.rows[relation] for relation in free})
    rooted, links = links_of(needs)
    planner = _Planner(rooted, wanted, links, frozenset(loaded), seed, wishes, notes=list(wanted.notes))
    planner.settle()
    return DatasetPlan(planner.recipes(), (), tuple(dict.fromkeys(planner.notes)), seed)


def _described(need: TableNeed, wishes: Wishes) -> TableNeed:
    columns = {
        name: replace(column, given=wishes.columns.get((need.relation, name), column.given))
        for name, column in need.columns.items()
    }
    return replace(need, columns=columns)


def _contradicted(precaution: str, wishes: Wishes) -> bool:
    """Whether somebody said how many nulls the column has in production: then it has them here as well."""
    return any(
        given.null_fraction and precaution.startswith(f"{relation}.{quote_name(column)} is generated without")
        for (relation, column), given in wishes.columns.items()
    )


@dataclass(slots=True)
class _Planner:
    needs: Mapping[Relation, TableNeed]
    wanted: Targets
    links: Links
    loaded: frozenset[Relation]
    seed: int
    wishes: Wishes
    notes: list[str]
    rows: dict[Relation, int] = field(default_factory=dict)
    _group_rows: int = _ROWS_PER_GROUP

    @property
    def _keys(self) -> dict[Relation, tuple[frozenset[str], ...]]:
        return {
            relation: tuple(frozenset(key.columns) for key in need.keys if key.predicate is None)
            for relation, need in self.needs.items()
        }

    def settle(self) -> None:
        """Row counts that every key and reference has room for."""
        self.rows = dict(self.wanted.rows)
        for root in filter(is_imaginary, self.needs):
            self.rows[root] = self._groups(root)
        if self.wanted.smart:
            self._raise_parents()
        for relation in self._parents_first():
            if relation not in self.loaded:
                self._count_children(relation)
                self.rows[relation] = self._room_for(relation)

    def _count_children(self, relation: Relation) -> None:
        """So many rows for each row of a parent, where somebody said so."""
        if relation not in self.wishes.children:
            return
        parent, mean = self.wishes.children[relation]
        count = round(mean * self.rows[parent])
        if relation not in self.wanted.explicit:
            self.rows[relation] = count
        elif abs(self.rows[relation] - count) > _TOLERANCE * count:
            raise DatasetError(
                f"{relation}: {self.rows[relation]:,} rows and {mean:g} for each of the "
                f"{self.rows[parent]:,} of {parent} contradict each other",
                "leave out one of the two",
            )

    def recipes(self) -> dict[Relation, TableRecipe]:
        """Every table's recipe."""
        around = self._surroundings()
        made = {}
        for relation in self.needs:
            count = self.rows[relation]
            generated = relation not in self.loaded and not is_imaginary(relation)
            designer = Designer(Allotment(self.needs[relation], self.links[relation], around), max(1, count))
            try:
                made[relation] = replace(designer.recipe(generated=generated), rows=count)
            except DatasetError:
                if count:
                    raise
                # an empty table may well have columns that cannot be filled: no fresh rows either
                made[relation] = TableRecipe(relation, 0, (), limit=0, generated=generated)
                continue
            self.notes += designer.notes
        return made

    def _surroundings(self) -> Surroundings:
        """Sizes and strata: references that have to agree go round robin over the same number of strata."""
        strata: dict[Relation, int] = {}
        for relation, links in self.links.items():
            for link in links:
                if link.role == WITHIN and link.stratum is not None:
                    root = link.stratum.root
                    least = min(self.rows[link.parent], self.rows[relation]) // self._group_rows
                    bound = min(self.rows[root], least)
                    strata[root] = max(1, min(strata.get(root, bound), bound))
        sizes: dict[tuple[Relation, int], int] = {}
        inner = set()
        for relation, links in self.links.items():
            for link in links:
                if link.role != WITHIN or link.stratum is None:
                    continue
                at = link.stratum
                first = (relation, at.lead) if at.through is None else (links[at.lead].parent, at.through)
                for place in (first, (link.parent, at.inner)):
                    sizes[place] = strata[at.root]
                inner.add((link.parent, at.inner))
        bounded = {place: span for place, span in self._bounded().items() if place not in sizes}
        sizes |= {place: count for place, (_, count) in bounded.items()}
        return Surroundings(
            rows=self.rows,
            keys=self._keys,
            sizes=sizes,
            firsts={place: first for place, (first, _) in bounded.items()},
            strata=strata,
            inner=frozenset(inner),
            loaded=self.loaded,
            seed=self.seed,
            fans=self.wishes.fans,
            locale=self.wishes.locale,
        )

    def _bounded(self) -> dict[tuple[Relation, int], tuple[int, int]]:
        """References that may use but some rows of their parent: the first of them, and how many."""
        spans = {}
        for relation, links in self.links.items():
            for place, link in enumerate(links):
                first, count = self._span(relation, link) or (0, 0)
                count = min(first + count, self.rows[link.parent]) - first
                if count > 0:
                    spans[relation, place] = (first, count)
        return spans

    def _span(self, relation: Relation, link: Link) -> tuple[int, int] | None:
        """Which of a parent's rows, one after the other, a check or partition bound on the reference allows;
        None for all, and where its key does not simply count.
        """
        if link.role != LEAD or len(link.columns) != 1 or link.parent in self.loaded:
            return None
        facts, parent = self.needs[relation].columns[link.columns[0]].facts, self.needs[link.parent]
        key = parent.columns.get(link.parent_columns[0])
        decided = any(link.parent_columns[0] in other.decides for other in self.links[link.parent])
        if not (facts.bounds or facts.intervals) or key is None or decided:
            return None
        if all(unique.columns != link.parent_columns or unique.predicate for unique in parent.keys):
            return None
        around = Surroundings({}, {}, {}, {}, frozenset(), self.loaded, self.seed)
        try:
            values = Allotment(parent, (), around).values(key, max(1, self.rows[link.parent]), exact=True)
        except UnsupportedTypeError:
            return None
        span = counted_within(values, facts) if isinstance(values, Lattice) else None
        # what has to differ from another reference, or comes before its own row, is counted from the first on
        bare = link.parent != relation and not self.needs[relation].differing
        return span if span is None or span[0] == 0 or bare else None

    def _groups(self, root: Relation) -> int:
        """How many values tables share that have a column in common but no table that it refers to."""
        rows = [
            self.rows[relation]
            for relation, links in self.links.items()
            if any(link.parent == root for link in links)
        ]
        return max(1, min(rows))

    def _parents_first(self) -> list[Relation]:
        """`needs` is in that order as far as foreign keys go; later and suggested ones are sorted in here."""
        ordered: list[Relation] = []
        state: dict[Relation, bool] = {}

        def visit(relation: Relation) -> None:
            if relation in state:
                return
            state[relation] = True
            for link in self.links[relation]:
                visit(link.parent)
            ordered.append(relation)

        for relation in self.needs:
            visit(relation)
        return ordered

    def _raise_parents(self) -> None:
        """A table whose key is a reference has no more rows than its parent: where the parent's count is
        ours to choose, it is made large enough.
        """
        for relation in reversed(self._parents_first()):
            for link in self.links[relation]:
                alone = any(set(key.columns) <= set(link.columns) for key in self.needs[relation].keys)
                ours = link.parent not in self.wanted.explicit and link.parent not in self.loaded
                if alone and ours and link.parent != relation:
                    self.rows[link.parent] = max(self.rows[link.parent], self.rows[relation])

    def _room_for(self, relation: Relation) -> int:
        """The rows that a table gets: what is wanted, or as many as there is room for."""
        need, wanted = self.needs[relation], self.rows[relation]
        explicit = relation in self.wanted.explicit
        if wanted == 0:
            return 0
        if need.homeless or not need.columns:
            reason = "it has no partition" if need.homeless else "it has no columns to fill"
            if explicit:
                raise DatasetError(f"{relation} cannot have rows: {reason}")
            self.notes.append(f"{relation} gets no rows: {reason}")
            return 0
        if not explicit and (orphan := self._orphan(relation)):
            self.notes.append(f"{relation} gets no rows: {orphan} that it refers to has none")
            return 0
        allocation = Allotment(need, self.links[relation], self._surroundings()).allocation(wanted)
        if allocation.limit >= wanted or allocation.limit_by is None:
            return wanted
        if self._group_rows > 1:
            self._group_rows = 1  # as many groups as there can be leave keys the most room
            return self._room_for(relation)
        return self._limited(relation, wanted, allocation.limit, allocation.limit_by)

    def _limited(self, relation: Relation, wanted: int, limit: int, key: KeySpec) -> int:
        """The rows of a table that cannot have those that are wanted, if it may have fewer."""
        need, explicit = self.needs[relation], relation in self.wanted.explicit
        later = next(
            (k for k in need.keys if k.later and (k.name, k.columns) == (key.name, key.columns)), None
        )
        known = relation in self.wishes.rows or relation in self.wishes.children
        asked = explicit or known or not self.wanted.smart
        if later is not None and asked and _is_bounded(need, later):
            raise _NoRoomError(relation, later, limit)
        columns = ", ".join(map(quote_name, key.columns))
        whose = ", which the migration adds," if later is not None else ""
        why = f"{quote_name(key.name)} ({columns}){whose} allows at most {limit:,} different rows"
        described = any(name in need.columns and need.columns[name].given.own for name in key.columns)
        if explicit or described:
            mend = f"ask for at most {limit:,}"
            mend += ", or describe columns of the key otherwise" if described else ""
            raise DatasetError(f"{relation} cannot have {wanted:,} rows: {why}", mend)
        if not is_imaginary(relation):
            self.notes.append(f"{relation} gets {limit:,} rows, not {wanted:,}: {why}")
        return limit

    def _orphan(self, relation: Relation) -> Relation | None:
        """A parent without rows, where the reference may not be NULL."""
        columns = self.needs[relation].columns
        for link in self.links[relation]:
            empty = self.rows[link.parent] == 0 and link.parent != relation
            if (
                empty
                and not link.soft
                and link.decides
                and all(columns[name].not_null for name in link.decides)
            ):
                return link.parent
        return None


def _is_bounded(need: TableNeed, key: KeyNeed) -> bool:
    """Whether no generator could find more values for the key: labels, parents, and what somebody described.
    How many texts there are is another matter.
    """
    referring = {name for reference in need.references for name in reference.columns}
    return all(
        name in referring
        or column.given.own
        or bool(column.facts.one_of)
        or flattened(column.type)[0].kind is TypeKind.ENUM
        or flattened(column.type)[0].name == "bool"
        for name in key.columns
        if (column := need.columns.get(name)) is not None
    )
