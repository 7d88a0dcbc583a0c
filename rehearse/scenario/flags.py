"""Command-line flags as a `Scenario`: the same document, the same checks, errors that name the flag."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rehearse.errors import ScenarioError
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.workload import Arrivals, Protocol, RateStep, RetryPolicy, ScriptSource, Trace
from rehearse.scenario.addresses import is_dsn
from rehearse.scenario.build import Draft, build
from rehearse.scenario.entries import EVERY_OTHER, INCLUDE
from rehearse.scenario.files import Reader
from rehearse.scenario.lines import Loc
from rehearse.scenario.nearest import suggestion
from rehearse.scenario.pacing import parse_rate, parse_retry
from rehearse.scenario.places import Places
from rehearse.scenario.scripts import ChoiceError, read_scripts
from rehearse.scenario.trace import parse_trace
from rehearse.scenario.values import RefusedError, parse_count


class Flags(TypedDict, total=False):
    """What can be said on the command line; one that is missing or None says nothing.

    `workload` is FILE@WEIGHT; `rows` and `production_rows` are COUNT or TABLE=COUNT, `settings`
    NAME=VALUE, `define` NAME=INTEGER, each as often as wanted. Phase lengths and `timeout` are
    durations (`3s`). `trials` are kinds with commas between them, or `all`.
    """

    schema: Path | None
    migration: Sequence[Path]
    down: Sequence[Path]
    command: str | None
    down_command: str | None
    load: Sequence[Path]
    workload: Sequence[str]
    define: Sequence[str]
    rows: Sequence[str]
    production_rows: Sequence[str]
    rate: float | None
    arrivals: str | None
    retry: str | None
    writes: str | None
    after: Sequence[str]
    clients: int | None
    processes: int | None
    protocol: str | None
    warm_up: str | None
    baseline: str | None
    recovery: str | None
    seed: int | None
    engine: str | None
    provision: str | None
    settings: Sequence[str]
    transaction: str | None
    expendable: Sequence[str]
    timeout: str | None
    gates: Sequence[str]
    aborts: Sequence[str]
    repeat: int | None
    trials: str | None
    name: str | None


# Key of Flags -> the flag's spelling and the key of a scenario that it stands for.
_FLAGS: dict[str, tuple[str, Loc]] = {
    "schema": ("--schema", ("dataset", "schema")),
    "migration": ("--migration", ("migration", "up")),
    "down": ("--down", ("migration", "down")),
    "command": ("--command", ("migration", "command")),
    "down_command": ("--down-command", ("migration", "down_command")),
    "load": ("--load", ("dataset", "load")),
    "workload": ("--workload", ("workload", "scripts")),
    "define": ("--define", ("workload", "variables")),
    "rows": ("--rows", ("dataset", "rows")),
    "production_rows": ("--production-rows", ("production", "rows")),
    "rate": ("--rate", ("workload", "rate")),
    "arrivals": ("--arrivals", ("workload", "arrivals")),
    "retry": ("--retry", ("workload", "retry")),
    "writes": ("--writes", ("workload", "writes")),
    "after": ("--after", ("workload", "after", "scripts")),
    "clients": ("--clients", ("workload", "clients")),
    "processes": ("--processes", ("workload", "processes")),
    "protocol": ("--protocol", ("workload", "protocol")),
    "warm_up": ("--warm-up", ("workload", "warm_up")),
    "baseline": ("--baseline", ("workload", "baseline")),
    "recovery": ("--recovery", ("workload", "recovery")),
    "seed": ("--seed", ("dataset", "seed")),
    "engine": ("--engine", ("database", "engine")),
    "provision": ("--provision", ("database", "provision")),
    "settings": ("--setting", ("database", "settings")),
    "transaction": ("--transaction", ("migration", "transaction")),
    "expendable": ("--expendable", ("migration", "expendable")),
    "timeout": ("--timeout", ("migration", "timeout")),
    "gates": ("--gate", ("gates",)),
    "aborts": ("--abort", ("abort",)),
    "repeat": ("--repeat", ("run", "repeat")),
    "trials": ("--trials", ("trials", "run")),
    "name": ("--name", ("name",)),
}


def scenario_from_flags(flags: Flags) -> Scenario:
    """A scenario from flags alone: `schema`, and `migration` or `command`, are required.

    Files are relative to the current directory. Raises ScenarioError, naming the flag.
    """
    given = _given(flags)
    for required in ("schema", "migration"):
        if required not in given and not (required == "migration" and "command" in given):
            flag = _FLAGS[required][0]
            raise ScenarioError(f"`{flag}` is missing", "give a scenario file, or --schema and --migration")
    return build(
        Draft(
            document=flag_document(flags),
            places=Places(flags=flag_places(flags)),
            name=Path(_as_texts(given.get("migration") or given["command"])[0]).stem,
            source=command_line(flags),
            gates=flags.get("gates", ()),
            aborts=flags.get("aborts", ()),
        )
    )


def parse_rows(rows: Sequence[str], flag: str) -> RowCounts:
    """`COUNT` or `*=COUNT` for every table, `TABLE=COUNT` for one; `flag` is what to call them. Raises
    ScenarioError.
    """
    default: int | None = None
    tables: dict[str, int] = {}
    for text in rows:
        name, equals, count = text.rpartition("=")
        try:
            number = parse_count(count)
        except RefusedError as refusal:
            raise ScenarioError(f"`{flag} {text}` {refusal.what}", refusal.mend) from None
        if equals and name != "*":
            tables[name] = number
        else:
            default = number
    return RowCounts(default, tuple(tables.items()))


def parse_scripts(choices: Sequence[str], flag: str = "--script") -> tuple[ScriptSource, ...]:
    """The scripts of a mix, from `FILE@WEIGHT` each. Raises ScenarioError, naming the flag."""

    def read(_index: int, name: str) -> str:
        return read_sql(Path(name), flag).text

    try:
        scripts = read_scripts(choices, read)
    except ChoiceError as error:
        raise ScenarioError(f"`{flag}` {error.what}", error.mend) from None
    if not scripts:
        raise ScenarioError(f"`{flag}` gives no script a weight above 0", "name at least one script")
    return scripts


def parse_variables(definitions: Sequence[str], flag: str = "--define") -> tuple[tuple[str, int], ...]:
    """`NAME=INTEGER` each. Raises ScenarioError, naming the flag."""
    return tuple(_integers(flag, definitions).items())


def parse_protocol(text: str, flag: str = "--protocol") -> Protocol:
    """`prepared`, `extended` or `simple`. Raises ScenarioError, naming the flag and the nearest one."""
    valid = [protocol.value for protocol in Protocol]
    if text not in valid:
        raise ScenarioError(
            f"`{flag}` must not be `{text}`", suggestion(text, valid, otherwise="it is one of")
        )
    return Protocol(text)


def parse_arrivals(text: str, flag: str = "--arrivals") -> Arrivals:
    """`poisson` or `uniform`. Raises ScenarioError, naming the flag and the nearest one."""
    valid = [arrivals.value for arrivals in Arrivals]
    if text not in valid:
        raise ScenarioError(
            f"`{flag}` must not be `{text}`", suggestion(text, valid, otherwise="it is one of")
        )
    return Arrivals(text)


def parse_rate_flag(text: str, flag: str = "--rate") -> tuple[RateStep, ...]:
    """A rate, or steps and ramps; none for a closed loop. Raises ScenarioError, naming the flag."""
    try:
        return parse_rate(text)
    except RefusedError as refusal:
        raise ScenarioError(f"`{flag}` {refusal.what}", refusal.mend) from None


def parse_retry_flag(text: str, flag: str = "--retry") -> RetryPolicy | None:
    """`none`, `application` or `SQLSTATE,...:ATTEMPTS`. Raises ScenarioError, naming the flag."""
    try:
        return parse_retry(text)
    except RefusedError as refusal:
        raise ScenarioError(f"`{flag}` {refusal.what}", refusal.mend) from None


def read_trace(path: Path, scripts: Sequence[str], *, repeat: bool, flag: str = "--trace") -> Trace:
    """A recorded schedule for `scripts`, by their names. Raises ScenarioError, naming the flag."""
    try:
        return parse_trace(read_sql(path, flag).text, str(path), scripts, repeat=repeat)
    except RefusedError as refusal:
        raise ScenarioError(f"`{flag}` {refusal.what}", refusal.mend) from None


def read_sql(path: Path, flag: str) -> SqlFile:
    """One file that a flag names, relative to the current directory. Raises ScenarioError."""
    try:
        return Reader((Path(),)).read(str(path))
    except RefusedError as refusal:
        raise ScenarioError(f"`{flag}` {refusal.what}", refusal.mend) from None


def flag_document(flags: Flags) -> dict[str, object]:
    """The document that the flags stand for (gates and aborts apart: they are expressions)."""
    document: dict[str, object] = {}
    for key, value in _given(flags).items():
        flag, loc = _FLAGS[key]
        if key in ("gates", "aborts"):
            continue
        table = document
        for part in loc[:-1]:
            inner = table.setdefault(str(part), {})
            assert isinstance(inner, dict)
            table = inner
        table[str(loc[-1])] = _READERS.get(key, _plain)(flag, value)
    return document


def flag_places(flags: Flags) -> dict[Loc, str]:
    """Which key of a scenario each flag given stands for; one row count of a table by itself."""
    places: dict[Loc, str] = {}
    for key, value in _given(flags).items():
        flag, loc = _FLAGS[key]
        if key in ("gates", "aborts"):
            continue
        if _READERS.get(key) in (_counts, _pairs, _integers):
            for text in _as_texts(value):
                name, equals, _ = text.rpartition("=") if key.endswith("rows") else text.partition("=")
                places[(*loc, name if equals else EVERY_OTHER)] = f"{flag} {text}"
        else:
            places[loc] = flag
    return places


def merged(document: Mapping[str, object], flags: Mapping[str, object]) -> dict[str, object]:
    """`document` with the values of `flags` over it, table by table."""
    result = dict(document)
    for key, value in flags.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            result[key] = merged(old, value)
        elif isinstance(value, dict) and old is not None:
            lone = {"rows": EVERY_OTHER, "settings": INCLUDE}.get(key)
            result[key] = {lone: old, **value} if lone else old
        else:
            result[key] = value
    return result


def command_line(flags: Flags) -> str:
    """The command as it could be typed again, without the address of a server."""
    words = ["rehearse", "run"]
    for key, value in _given(flags).items():
        for text in _as_texts(value):
            secret = key == "provision" and is_dsn(text)
            words += [_FLAGS[key][0], "***" if secret else text]
    return shlex.join(words)


def _given(flags: Flags) -> dict[str, object]:
    return {key: value for key, value in flags.items() if value not in (None, (), [])}


def _as_texts(value: object) -> list[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(item) for item in value]
    return [str(value)]


def _plain(_flag: str, value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _list(_flag: str, value: object) -> object:
    return _as_texts(value)


def _counts(_flag: str, value: object) -> object:
    counts: dict[str, str] = {}
    for text in _as_texts(value):
        name, equals, count = text.rpartition("=")
        counts[name if equals else EVERY_OTHER] = count
    return counts


def _pairs(flag: str, value: object) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in _as_texts(value):
        name, equals, setting = text.partition("=")
        if not equals:
            raise ScenarioError(f"`{flag} {text}` has no value", f"write {flag} NAME=VALUE")
        pairs[name] = setting
    return pairs


def _integers(flag: str, value: object) -> dict[str, int]:
    integers: dict[str, int] = {}
    for name, text in _pairs(flag, value).items():
        try:
            integers[name] = int(text)
        except ValueError:
            raise ScenarioError(f"`{flag} {name}={text}` must be a whole number") from None
    return integers


def _kinds(_flag: str, value: object) -> object:
    return [word.strip() for word in str(value).split(",") if word.strip()]


def _words(flag: str, value: object) -> object:
    """A command line as a shell reads it, without anything else that a shell does."""
    try:
        return shlex.split(str(value))
    except ValueError as error:
        raise ScenarioError(f"`{flag}` cannot be taken apart: {str(error).lower()}") from None


_READERS: dict[str, Callable[[str, object], object]] = {
    "migration": _list,
    "down": _list,
    "command": _words,
    "down_command": _words,
    "load": _list,
    "workload": _list,
    "after": _list,
    "expendable": _list,
    "rows": _counts,
    "production_rows": _counts,
    "settings": _pairs,
    "define": _integers,
    "trials": _kinds,
}
