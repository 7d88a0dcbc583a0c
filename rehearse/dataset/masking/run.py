"""The course of a masking run: plan, stream, check, finish; or nothing is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from rehearse.dataset.masking.block import decoded, encoded, has_escapes, read_block, write_block
from rehearse.dataset.masking.columns import ColumnPlan, MaskPlan, root_of
from rehearse.dataset.masking.flow import ahead, brisk
from rehearse.dataset.masking.leaks import LeakCheck, LeakReport, Sample
from rehearse.dataset.masking.maskers import masker_of
from rehearse.dataset.masking.masks import Masker, UnreadableError
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import KEYS, SCHEMA
from rehearse.dataset.masking.sink import Sink
from rehearse.dataset.masking.source import Source
from rehearse.dataset.masking.subset import Multiplied, Selection
from rehearse.engines.postgres.dump import CopyRows
from rehearse.engines.postgres.split import split
from rehearse.errors import DatasetError, ExitCode, InputError, RehearseError
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation

if TYPE_CHECKING:
    import polars as pl

# these make nothing that COPY would have to escape
_BARE = frozenset({"email", "name", "first_name", "last_name", "hash"})

# in place of a mask: what a test of the leak check puts there
MaskerFactory: TypeAlias = "Callable[..., Masker | None]"


class LeakError(RehearseError):
    """Something of the source was found in what was written, which has been removed."""

    exit_code = ExitCode.NO_GO


@dataclass(frozen=True, slots=True)
class MaskResult:
    """What was written. `mask_seconds` is the time of the streaming, the check and the indexes left out."""

    rows: int
    source_rows: int
    size_bytes: int
    mask_seconds: float
    check_seconds: float
    total_seconds: float
    tables: tuple[tuple[str, int], ...]
    leaks: LeakReport
    notes: tuple[str, ...] = ()

    @property
    def rows_per_second(self) -> float:
        """Rows written a second of streaming."""
        return self.rows / self.mask_seconds if self.mask_seconds else 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a run needs. `selection` None: every row; `copies` of each where it is multiplied."""

    source: Source
    plan: MaskPlan
    key: MaskKey
    sink: Sink
    allowed: Mapping[str, str] = field(default_factory=dict)
    selection: Selection | None = None
    multiplied: Multiplied | None = None
    masker: MaskerFactory = masker_of
    on_progress: Callable[[Relation, int], None] = lambda _relation, _rows: None


def run_masking(job: Job) -> MaskResult:
    """Masks everything. On any error, a leak among them, nothing of what was written is left.

    Raises InputError for columns that nobody decided on, LeakError for values that got through.
    """
    job.plan.require_complete()
    started = time.monotonic()
    try:
        with brisk():
            return _Run(job).run(started)
    except BaseException:
        job.sink.discard()
        raise


class _Run:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._sample = Sample()
        self._rows: dict[Relation, int] = {}
        self._source_rows = self._bytes = 0

    def run(self, started: float) -> MaskResult:
        job = self._job
        sections = job.source.sections()
        job.sink.begin(sections)
        copying = time.monotonic()
        for rows in job.source.copies():
            self._table(rows)
        copied = time.monotonic()
        leaks = self._checked(sections.before + sections.after)
        checked = time.monotonic()
        notes = job.sink.finish({"rows": sum(self._rows.values()), "checked": _coverage(leaks)})
        return MaskResult(
            rows=sum(self._rows.values()),
            source_rows=self._source_rows,
            size_bytes=self._bytes,
            mask_seconds=copied - copying,
            check_seconds=checked - copied,
            total_seconds=time.monotonic() - started,
            tables=tuple((str(relation), rows) for relation, rows in self._rows.items()),
            leaks=leaks,
            notes=notes,
        )

    def _table(self, rows: CopyRows) -> None:
        root = root_of(self._job.plan.schema, rows.relation)
        plans = _plans(self._job.plan, root, rows.columns or ())
        self._rows.setdefault(root, 0)
        with ahead(rows.blocks) as blocks, ahead(self._masked(rows.relation, plans, blocks)) as masked:
            self._job.sink.write(root, [plan.column.name for plan in plans], masked)

    def _masked(
        self, relation: Relation, plans: Sequence[ColumnPlan], blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        root = plans[0].relation
        copies = self._maskers(root, plans)
        names = [str(number) for number in range(len(plans))]
        integers = {name for name, plan in zip(names, plans, strict=True) if plan.counts}
        keep = self._job.selection.rows(relation) if self._job.selection else None
        position = 0
        for block in blocks:
            try:
                frame = read_block(block, names, integers)
            except ValueError as error:
                raise InputError(f"{relation}: {error}") from None
            self._source_rows += len(frame)
            position += len(frame)
            if keep is not None:
                frame = frame.filter(keep[position - len(frame) : position])
            escaped = has_escapes(block)
            given = [
                decoded(series) if escaped and plan.escapes else series
                for plan, series in zip(plans, frame.get_columns(), strict=True)
            ]
            for plan, series in zip(plans, given, strict=True):
                self._add(plan, series)
            for maskers in copies:
                columns = [
                    _one(plan, masker, series)
                    for plan, masker, series in zip(plans, maskers, given, strict=True)
                ]
                text = write_block(
                    frame.with_columns(c.alias(n) for c, n in zip(columns, names, strict=True))
                )
                self._rows[root] += len(frame)
                self._bytes += len(text)
                yield text
            self._job.on_progress(root, self._rows[root])

    def _add(self, plan: ColumnPlan, series: pl.Series) -> None:
        try:
            self._sample.add(plan, series)
        except Exception as error:
            raise _unmaskable(plan, error) from None

    def _maskers(self, root: Relation, plans: Sequence[ColumnPlan]) -> list[list[Masker | None]]:
        """One list of maskers for each copy."""
        multiplied, make = self._job.multiplied, self._job.masker
        if multiplied is None or root in multiplied.once:
            return [[make(plan, self._job.key) for plan in plans]]
        return [
            [
                make(plan, self._job.key, copy=copy, stride=multiplied.strides.get(plan.domain, 0))
                for plan in plans
            ]
            for copy in range(multiplied.copies)
        ]

    def _checked(self, schema: str) -> LeakReport:
        job = self._job
        check = LeakCheck(self._sample, job.allowed)
        for statement in split(SqlFile("the schema", schema)):
            check.read_schema(statement.text)
        for rows in job.sink.written():
            plans = _plans(job.plan, root_of(job.plan.schema, rows.relation), rows.columns or ())
            names = [str(number) for number in range(len(plans))]
            with ahead(rows.blocks) as blocks:
                for block in blocks:
                    frame = read_block(block, names)
                    if has_escapes(block):
                        frame = frame.with_columns(decoded(series) for series in frame.get_columns())
                    check.read(plans, frame)
        report = check.report()
        if report.leaks:
            first = report.leaks[0]
            count = "" if first.column == SCHEMA else f" in {first.rows} rows"
            more = f" (and {len(report.leaks) - 1} more)" if len(report.leaks) > 1 else ""
            raise LeakError(
                f"leak: {first.column}: {first.what}{count}{more}; all that was written has been removed",
                f"mask the column (keys in documents by a rule for their path and {KEYS}), or say under "
                "[leaks] allow why such values may stand there",
            )
        return report


def _one(plan: ColumnPlan, masker: Masker | None, series: pl.Series) -> pl.Series:
    """A column masked and ready for COPY; what is kept is still as it came."""
    if masker is None:
        return series
    try:
        masked = masker(series)
        return encoded(masked) if plan.escapes and plan.mask not in _BARE else masked
    except UnreadableError as error:
        raise DatasetError(f"{plan.label}: {error}", "its rule may say null, constant or keep") from None
    except Exception as error:
        # whatever it is, its message may quote a value
        raise _unmaskable(plan, error) from None


def _unmaskable(plan: ColumnPlan, error: Exception) -> DatasetError:
    return DatasetError(
        f"{plan.label}: a {plan.column.type.sql} that cannot be taken apart ({type(error).__name__})",
        "its rule may say null, constant or keep",
    )


def _plans(plan: MaskPlan, root: Relation, columns: Sequence[str]) -> tuple[ColumnPlan, ...]:
    by_name = {column.column.name: column for column in plan.of(root)}
    missing = [name for name in columns if name not in by_name]
    if missing:
        raise InputError(f"{root}.{missing[0]}: the source's rows have a column that its schema has not")
    return tuple(by_name[name] for name in columns)


def _coverage(leaks: LeakReport) -> dict[str, object]:
    return {
        "columns": leaks.columns,
        "rows": leaks.rows,
        "source_values": leaks.sampled,
        "values": leaks.values,
    }
