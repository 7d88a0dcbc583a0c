"""How alike two tables' columns go together, as far as extended statistics tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rehearse.dataset.profile.shares import apart
from rehearse.model.profile import NULL, CommonValue, JointStatistics, TableProfile
from rehearse.model.relation import quote_name

Deviations = dict[str, float]


def joint_deviations(table: TableProfile, other: TableProfile) -> Iterator[tuple[str, Deviations | None]]:
    """For each of the table's extended statistics its columns, and how far the other table's are off; None
    where that has none of the same columns, or of another kind.

    `depends` is the largest difference of the degrees to which columns determine another, `common` that in
    frequency of the ten most common combinations, `distinct` of the number of all combinations.
    """
    for joint in table.joint:
        if not (joint.dependencies or joint.frequencies or joint.distinct):
            continue
        names = ", ".join(map(quote_name, joint.columns))
        twin = next((found for found in other.joint if set(found.columns) == set(joint.columns)), None)
        yield names, None if twin is None else _deviations(table, joint, other, twin)


def _deviations(
    table: TableProfile, joint: JointStatistics, other: TableProfile, twin: JointStatistics
) -> Deviations | None:
    deviations: Deviations = {}
    if joint.dependencies:
        # a degree of nothing is not written down
        theirs = {(frozenset(given), to): degree for given, to, degree in twin.dependencies}
        deviations["depends"] = max(
            abs(degree - theirs.get((frozenset(given), to), 0.0)) for given, to, degree in joint.dependencies
        )
    if joint.frequencies:
        if not twin.frequencies:
            return None
        rows = max(1, min(table.rows, other.rows))
        deviations["common"] = apart(_combinations(table, joint), _combinations(other, twin), rows)
    counts = {frozenset(columns): count for columns, count in twin.distinct}
    known = [(count, counts[frozenset(of)]) for of, count in joint.distinct if counts.get(frozenset(of))]
    if joint.distinct:
        if not known:
            return None
        deviations["distinct"] = max(abs(mine - theirs) / max(1.0, mine) for mine, theirs in known)
    return deviations


def _combinations(table: TableProfile, joint: JointStatistics) -> tuple[CommonValue, ...]:
    """By what they are, where all of the columns' values are told, else by rank alone."""
    known = {column.name: column.common for column in table.columns}
    order = sorted(range(len(joint.columns)), key=lambda place: joint.columns[place])
    made = []
    for combination, frequency in zip(joint.combinations, joint.frequencies, strict=False):
        values: list[str | None] = []
        for place in order:
            common, rank = known.get(joint.columns[place], ()), combination[place]
            if rank is None or rank >= len(common):
                values.append(None)
            else:
                values.append("" if rank == NULL else f"={common[rank].value}")
        unknown = any(value in {None, "=None"} for value in values)
        told = None if unknown else "\0".join(str(value) for value in values)
        made.append(CommonValue(frequency, told))
    return tuple(made) or tuple(CommonValue(frequency) for frequency in joint.frequencies)
