"""What a run was: its data, its machine, its scenario, and what measuring it cost; as rows of words."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.record import RunRecord, TableFacts, Trial
from rehearse.model.scenario import Scenario, WorkloadSpec
from rehearse.model.spans import Spans
from rehearse.model.waits import ObserverCost
from rehearse.model.workload import Arrivals, Version
from rehearse.report import digest
from rehearse.report import format as fmt

Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file or script as it was used."""

    name: str
    note: str
    text: str


def growth(table: TableFacts) -> str:
    """How much larger production is: `150×`; empty where it is not known."""
    if table.production_rows is None or not table.rows:
        return ""
    return f"{fmt.count(table.production_rows / table.rows)}×"


def dataset_rows(record: RunRecord) -> list[Row]:
    """What was loaded and how long that took."""
    data = record.dataset
    if data is None:
        return []
    rate = data.rows / data.load_seconds if data.load_seconds > 0 else None
    rows = [
        ("Loaded", f"{fmt.rows(data.rows)}, {fmt.size(data.size_bytes)}"),
        ("Load", fmt.duration(data.load_seconds) + (f" ({fmt.per_second(rate)} rows)" if rate else "")),
        ("Indexes and constraints", fmt.duration(data.index_seconds)),
        ("Seed", str(data.seed)),
    ]
    rows += [("Precaution", text) for text in data.precautions]
    return rows + [("Note", text) for text in data.notes]


def environment_rows(record: RunRecord) -> list[Row]:
    """The machine, the server and the tool."""
    env = record.environment
    if env is None:
        return []
    rows = [
        ("Server", f"{record.scenario.database.engine.value} {env.server_version}"),
        ("Provided by", digest.provisioner(record.scenario.database.provision)),
        ("Machine", f"{fmt.plural(env.cpus, 'CPU')}, {fmt.size(env.memory_bytes)} of memory, {env.platform}"),
        ("Tool", f"rehearse {env.tool_version}, Python {env.python_version}"),
    ]
    rows += [("Setting", f"{name} = {value}") for name, value in env.settings]
    return rows + [("Note", text) for text in env.notes]


def measuring_rows(record: RunRecord) -> list[Row]:
    """What the driver and the observer say of themselves."""
    trial = digest.main_trial(record)
    if trial is None:
        return []
    rows: list[Row] = []
    if trial.driver:
        d = trial.driver
        lags = fmt.nanoseconds(d.lag_p50_ns), fmt.nanoseconds(d.lag_p99_ns), fmt.nanoseconds(d.lag_max_ns)
        rows += [
            (
                "Driver",
                f"{fmt.plural(d.clients, 'connection')} in {fmt.plural(d.processes, 'process', 'processes')}",
            ),
            ("Finished of due", f"{fmt.count(d.finished)} of {fmt.count(d.offered)}"),
            (
                "Finished of due, baseline",
                f"{fmt.count(d.finished_baseline)} of {fmt.count(d.offered_baseline)}",
            ),
            ("Behind its own schedule", "p50 {}, p99 {}, at most {}".format(*lags)),
            ("CPU of the driver", f"{fmt.percent(d.cpu_share)} of a core"),
            ("Longest queue for a connection", fmt.count(d.peak_queue)),
        ]
        rows += [("Skipped for want of rows to draw", fmt.count(d.skipped))] if d.skipped else []
        rows += [("Reconnects", fmt.count(d.reconnects))] if d.reconnects else []
        rows += _still_rows("Driver not served by any processor", d.pauses)
        rows += [("Sent again after an error", fmt.count(d.retries))] if d.retries else []
    if trial.observer:
        o = trial.observer
        rows += [
            (
                "Lock samples",
                fmt.count(o.samples)
                + (f", {fmt.count(o.failed_samples)} failed" if o.failed_samples else ""),
            ),
            ("Cost of observing", f"at most {fmt.percent(o.share)} of a core"),
            (
                "Longest gap between samples",
                f"{fmt.nanoseconds(o.max_gap_ns)}, {fmt.nanoseconds(o.gap_limit_ns)} allowed",
            ),
            ("Gaps beyond that", fmt.count(len(o.gaps))),
        ]
        rows += _lapse_rows(o)
        rows += _still_rows("Log not taken by the disk", o.unflushed)
    rows += _disk_rows(trial)
    return rows


def _lapse_rows(observer: ObserverCost) -> list[Row]:
    """When the observer got neither processor nor answer, so that a short wait may have gone unseen."""
    if not observer.lapses:
        return []
    lapsed = fmt.nanoseconds(observer.lapsed_ns)
    text = f"{fmt.plural(len(observer.lapses), 'time')}, {lapsed} in all: waits may have gone unseen"
    return [(f"Not served for more than {fmt.nanoseconds(observer.lapse_limit_ns)}", text)]


def _still_rows(what: str, spans: Spans) -> list[Row]:
    """When the machine stood still."""
    if not spans:
        return []
    lengths = [end - start for start, end in spans]
    text = f"{fmt.plural(len(spans), 'time')}, {fmt.nanoseconds(max(lengths))} at the most"
    return [(what, f"{text}, {fmt.nanoseconds(sum(lengths))} in all")]


def _disk_rows(trial: Trial) -> list[Row]:
    """The most that temporary files and replication slots took at any time, where they took any."""
    temporary = max((sample.temporary_bytes or 0 for sample in trial.resources), default=0)
    retained = max((sample.retained_bytes or 0 for sample in trial.resources), default=0)
    rows = [("Temporary files at the peak", fmt.size(temporary))] if temporary else []
    return rows + ([("Log kept for replication slots", fmt.size(retained))] if retained else [])


def scenario_rows(scenario: Scenario) -> list[Row]:
    """The scenario with its defaults filled in; never an address."""
    load, phases = scenario.workload, scenario.workload.phases
    traffic = (
        *_rates(load),
        fmt.plural(load.clients, "client"),
        load.protocol.value,
    )
    lengths = (
        ("warm-up", phases.warm_up_s),
        ("baseline", phases.baseline_s),
        ("recovery", phases.recovery_s),
    )
    rows = [
        ("Scenario", scenario.name),
        ("Read from", scenario.source or "the command line"),
        ("Seed", str(scenario.seed)),
        ("Rows asked for", _row_counts(scenario.dataset.rows.tables, scenario.dataset.rows.default)),
        ("Rows in production", _row_counts(scenario.production.tables, scenario.production.default)),
        ("Traffic", ", ".join(traffic)),
        ("Phases", ", ".join(f"{name} {fmt.duration(length)}" for name, length in lengths)),
        ("Transactions", scenario.migration.transaction.value),
        ("Longest the migration may take", fmt.duration(scenario.migration.timeout_s)),
    ]
    rows += _applications(load)
    rows += [("Variable", f":{name} = {value}") for name, value in load.variables]
    rows += [("Server setting", f"{name} = {value}") for name, value in scenario.database.settings]
    rows += [("Expendable", name) for name in scenario.migration.expendable]
    rows += [
        ("Company", f"{a.kind} on {a.table} for {fmt.duration(a.duration_s)}, from {fmt.duration(a.start_s)}")
        for a in scenario.adversaries
    ]
    return rows + [("Gate", gate.text) for gate in scenario.gates]


def _rates(load: WorkloadSpec) -> tuple[str, ...]:
    """When transactions are due, in a few words."""
    if load.closed_loop:
        return ("closed loop",)
    if load.trace is not None:
        return (f"as recorded in {load.trace.file}", f"{fmt.per_second(load.rate)} on average", "open loop")
    rate = fmt.per_second(load.rate)
    shape = "" if load.arrivals is Arrivals.POISSON else ", evenly spaced"
    return (
        f"at most {rate}, in {fmt.plural(len(load.steps), 'step')}" if load.steps else rate,
        "open loop" + shape,
    )


def _applications(load: WorkloadSpec) -> list[Row]:
    rows = []
    if load.retry is not None:
        states = ", ".join(load.retry.sqlstates)
        rows.append(("Sent again", f"on {states}, {load.retry.attempts} attempts in all"))
    if load.after is not None:
        share, ramp = fmt.percent(load.after.share), fmt.duration(load.after.ramp_s)
        rows.append(("New application", f"after the migration, {share} of the traffic, reached in {ramp}"))
    return rows


def _row_counts(tables: tuple[tuple[str, int], ...], default: int | None) -> str:
    parts = [f"{name} {fmt.count(count)}" for name, count in tables]
    if default is not None:
        parts.append(f"{'others' if parts else 'every table'} {fmt.count(default)}")
    return ", ".join(parts) or "not given"


def sources(record: RunRecord) -> list[SourceText]:
    """The migration's files, and the traffic's scripts as they were run."""
    migration = record.scenario.migration
    made = [SourceText(file.name, "up", file.text) for file in migration.up]
    made += [SourceText(file.name, "down", file.text) for file in migration.down]
    for script in record.scripts:
        note = f"script, weight {script.weight}" + (", inferred from the schema" if script.inferred else "")
        note += ", new application" if script.version is Version.NEW else ""
        made.append(SourceText(script.name, note, ";\n".join(script.statements)))
    return made
