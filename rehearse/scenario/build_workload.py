"""The traffic of a scenario, from its table: scripts read, pacing checked, phases set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rehearse.model.scenario import NewApplication, PhaseLengths, WorkloadSpec
from rehearse.model.workload import Arrivals, Protocol, RateStep, RetryPolicy, ScriptSource, Trace
from rehearse.scenario.document import AfterTable, RetryTable, WorkloadTable
from rehearse.scenario.entries import EVERY_OTHER
from rehearse.scenario.lines import Loc
from rehearse.scenario.pacing import check_steps
from rehearse.scenario.scripts import BUILT_IN, ChoiceError, read_scripts
from rehearse.scenario.sources import Sources
from rehearse.scenario.trace import parse_trace
from rehearse.scenario.values import RefusedError

_WITH_NEW_APPLICATION_S = 6.0


def build_workload(table: WorkloadTable, rows: Mapping[str, int], sources: Sources) -> WorkloadSpec:
    """The traffic of `[workload]`; `rows` are those of the dataset. Raises ScenarioError."""
    return _Workload(sources).build(table, rows)


class _Workload:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._places = sources.places

    def build(self, table: WorkloadTable, rows: Mapping[str, int]) -> WorkloadSpec:
        if table.processes > table.clients:
            what = f"{{}} is {table.processes}, more than the {table.clients} clients they share"
            raise self._places.error(("workload", "processes"), what)
        scripts = self._scripts(("workload", "scripts"), table.scripts)
        self._check_pacing(table, inferred=not scripts)
        trace = self._trace(table, [script.name for script in scripts])
        after = self._after(table.after, [script.name for script in scripts])
        steps = self._steps(table)
        rate = max((step.rate for step in steps), default=0.0)
        variables = dict(table.variables)
        of_pgbench = any(table.startswith("pgbench_") for table in rows)
        if any(s.file in BUILT_IN or (of_pgbench and ":scale" in s.text) for s in scripts):
            variables.setdefault("scale", _pgbench_scale(rows))
        return WorkloadSpec(
            scripts=scripts,
            rate=rate if trace is None else len(trace.due_ns) / (trace.length_ns / 1e9),
            clients=table.clients,
            processes=table.processes,
            protocol=Protocol(table.protocol),
            variables=tuple(variables.items()),
            phases=PhaseLengths(table.warm_up, table.baseline, _recovery_s(table)),
            closed_loop=not steps,
            arrivals=Arrivals(table.arrivals),
            steps=steps if len(steps) > 1 or any(step.until_s is not None for step in steps) else (),
            trace=trace,
            retry=None if table.retry is None else _retry(table.retry),
            after=after,
            writes=table.writes,
            hot=tuple(table.hot.items()),
        )

    def _steps(self, table: WorkloadTable) -> tuple[RateStep, ...]:
        steps = tuple(RateStep(step.rate, step.until, step.ramp) for step in table.rate)
        try:
            return check_steps(steps)
        except RefusedError as refusal:
            raise self._places.error(("workload", "rate"), "{} " + refusal.what, refusal.mend) from None

    def _check_pacing(self, table: WorkloadTable, *, inferred: bool) -> None:
        given = table.model_fields_set
        problems = (
            (
                "writes" if table.writes is not None else "hot",
                (table.writes is not None or bool(table.hot)) and not inferred,
                "is for an inferred workload, and scripts are given: their weights say it",
            ),
            ("trace", table.trace is not None and "rate" in given, "and `workload.rate` exclude each other"),
            ("trace", table.trace is not None and inferred, "names scripts: give them as `workload.scripts`"),
            (
                "after",
                table.after is not None and table.trace is not None,
                "cannot share a trace, which names the old application's scripts: write its rate as steps",
            ),
            (
                "after",
                table.after is not None and not table.rate,
                "needs `workload.rate`: in a closed loop there is no rate to share between two versions",
            ),
        )
        for key, wrong, what in problems:
            if wrong:
                raise self._places.error(("workload", key), "{} " + what)

    def _trace(self, table: WorkloadTable, scripts: Sequence[str]) -> Trace | None:
        if table.trace is None:
            return None
        loc: Loc = ("workload", "trace")
        file = self._sources.read(loc, table.trace, may_be_empty=False)
        try:
            return parse_trace(file.text, table.trace, scripts)
        except RefusedError as refusal:
            raise self._places.error(loc, "{} " + refusal.what, refusal.mend) from None

    def _after(self, table: AfterTable | None, taken: Sequence[str]) -> NewApplication | None:
        if table is None:
            return None
        if table.share == 0:
            raise self._places.error(("workload", "after", "share"), "{} must be above 0")
        scripts = self._scripts(("workload", "after", "scripts"), table.scripts)
        named = tuple(
            replace(script, name=f"{script.name}_new") if script.name in taken else script
            for script in scripts
        )
        return NewApplication(named, table.share, table.ramp)

    def _scripts(self, loc: Loc, choices: Sequence[str]) -> tuple[ScriptSource, ...]:

        def read(index: int, name: str) -> str:
            return self._sources.read((*loc, index), name, may_be_empty=False).text

        try:
            scripts = read_scripts(choices, read)
        except ChoiceError as error:
            raise self._places.error((*loc, error.index), "{} " + error.what, error.mend) from None
        if choices and not scripts:
            raise self._places.error(loc, "{} gives every script the weight 0")
        return scripts


def _retry(table: RetryTable) -> RetryPolicy:
    return RetryPolicy(tuple(table.sqlstates), table.attempts, table.backoff)


def _recovery_s(table: WorkloadTable) -> float:
    """The phase after the migration; longer where a new application is to be met in it, unless it is said."""
    if table.after is None or "recovery" in table.model_fields_set:
        return table.recovery
    return max(table.recovery, table.after.ramp + _WITH_NEW_APPLICATION_S)


def _pgbench_scale(rows: Mapping[str, int]) -> int:
    """The scale that the built-in scripts find in the generated tables: one branch, 100,000 accounts each."""
    if "pgbench_branches" in rows:
        return max(1, rows["pgbench_branches"])
    return max(1, rows.get("pgbench_accounts", rows.get(EVERY_OTHER, 0)) // 100_000)
