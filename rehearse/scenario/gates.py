"""The grammar of gates: `metric{selector=value} op limit`, and the gates that hold unless told otherwise.

A limit is a quantity in the metric's unit (`500ms`, `0.1%`, `64MiB`, `300/s`, `0`), or another metric of
the same unit, with a factor or a percentage where it is not to be the same (`3x latency.p99{phase=baseline}`,
`150% duration`), which may have a `floor` below which it never fails (`floor 50ms`). A condition of `off`
switches the gate off. Pure; errors are ScenarioErrors that do not say where the text came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rehearse.errors import ScenarioError
from rehearse.model.gates import DEFAULT_GATES, DOWN, METRIC_KINDS, Comparison, Gate, MetricKind, MetricRef
from rehearse.model.record import Phase
from rehearse.model.verdict import Unit
from rehearse.scenario.nearest import suggestion

OFF = "off"

_METRIC = re.compile(r"\s*([^\s{}<>=]+)\s*(?:\{([^{}]*)\})?\s*")
_OPERATOR = re.compile(r"\s*(<=|>=|==|<|>)\s*(.*)", re.DOTALL)
_FACTOR = re.compile(r"([0-9][0-9.]*)\s*(x|%)\s+((?!floor\b)[^\s0-9].*)", re.DOTALL)
_FLOOR = re.compile(r"(.*?)\s+floor\s+(.*)", re.DOTALL)
_QUANTITY = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([^\s0-9]*)")

_UNITS: dict[str, tuple[Unit, float]] = {
    "us": (Unit.SECONDS, 1e-6),
    "µs": (Unit.SECONDS, 1e-6),
    "ms": (Unit.SECONDS, 1e-3),
    "s": (Unit.SECONDS, 1.0),
    "m": (Unit.SECONDS, 60.0),
    "min": (Unit.SECONDS, 60.0),
    "h": (Unit.SECONDS, 3600.0),
    "B": (Unit.BYTES, 1.0),
    "kB": (Unit.BYTES, 1e3),
    "MB": (Unit.BYTES, 1e6),
    "GB": (Unit.BYTES, 1e9),
    "TB": (Unit.BYTES, 1e12),
    "KiB": (Unit.BYTES, 1024.0),
    "MiB": (Unit.BYTES, 1024.0**2),
    "GiB": (Unit.BYTES, 1024.0**3),
    "TiB": (Unit.BYTES, 1024.0**4),
    "%": (Unit.RATIO, 0.01),
    "/s": (Unit.PER_SECOND, 1.0),
}
_PLAIN = frozenset({Unit.RATIO, Unit.COUNT, Unit.PER_SECOND})
_EXAMPLE = {
    Unit.SECONDS: "500ms",
    Unit.BYTES: "64MiB",
    Unit.RATIO: "0.1%",
    Unit.COUNT: "10",
    Unit.PER_SECOND: "300/s",
}
_WORD = {
    Unit.SECONDS: "a time",
    Unit.BYTES: "a size in bytes",
    Unit.RATIO: "a ratio",
    Unit.COUNT: "a count",
    Unit.PER_SECOND: "a rate",
}
_PHASES = tuple(phase.value for phase in Phase)


def parse_metric(text: str, scripts: Iterable[str] | None = None) -> MetricRef:
    """`latency.p99{phase=migration}`; selectors come out in the metric's own order.

    `scripts` are the names that `script=` may have, None where they are not known yet.
    """
    match = _METRIC.fullmatch(text)
    if match is None:
        raise ScenarioError(f"`{text.strip()}` is not a metric", "write it as `name{selector=value}`")
    kind = METRIC_KINDS.get(match[1])
    if kind is None:
        raise ScenarioError(f"unknown metric `{match[1]}`", suggestion(match[1], METRIC_KINDS))
    given = _selectors(kind, match[2] or "", None if scripts is None else tuple(scripts))
    return MetricRef(kind.name, tuple((key, given[key]) for key in kind.keys if key in given))


def _selectors(kind: MetricKind, text: str, scripts: tuple[str, ...] | None) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise ScenarioError(f"`{part.strip()}` is not a selector of `{kind.name}`", "write `key=value`")
        if key not in kind.keys:
            mend = suggestion(key, kind.keys) if kind.keys else "it takes none"
            raise ScenarioError(f"unknown selector `{key}` of `{kind.name}`", mend)
        if key in given:
            raise ScenarioError(f"selector `{key}` of `{kind.name}` is given twice")
        valid = _phases(kind) if key == "phase" else scripts
        if valid is not None and value not in valid:
            if key == "phase" and value in _PHASES:
                raise ScenarioError(
                    f"`{kind.name}` has no phase `{value}`",
                    "leave it out, or ask for the way back: `phase=down`",
                )
            raise ScenarioError(f"unknown {key} `{value}`", suggestion(value, valid))
        given[key] = value
    return given


def _phases(kind: MetricKind) -> tuple[str, ...]:
    return (*_PHASES, DOWN) if "phase" in kind.selectors else (DOWN,)


def parse_gate(metric_text: str, condition_text: str, scripts: Iterable[str] | None = None) -> Gate:
    """One gate from its metric and its condition: `stall.max` and `<= 500ms`."""
    names = None if scripts is None else tuple(scripts)
    metric = parse_metric(metric_text, names)
    match = _OPERATOR.fullmatch(condition_text.strip())
    if match is None:
        wanted = f"`<= {_EXAMPLE[METRIC_KINDS[metric.name].unit]}`, or `{OFF}`"
        raise ScenarioError(
            f"`{condition_text.strip()}` is not a condition for `{metric}`", f"write {wanted}"
        )
    text = f"{metric} {' '.join(condition_text.split())}"
    comparison, limit = Comparison(match[1]), match[2].strip()
    relative = _FACTOR.fullmatch(limit)
    if relative is None and not _names_metric(limit):
        return Gate(text, metric, comparison, _quantity(limit, metric))
    factor = 1.0 if relative is None else _factor(relative[1], relative[2])
    other_text, floor = limit if relative is None else relative[3], None
    floored = _FLOOR.fullmatch(other_text)
    if floored is not None:
        other_text, floor = floored[1], _quantity(floored[2], metric)
    other = _comparable(parse_metric(other_text, names), metric)
    return Gate(text, metric, comparison, factor, other, floor)


def _names_metric(limit: str) -> bool:
    """Whether a limit begins with a word that looks like a metric's name."""
    word = re.match(r"[a-z]+(?:\.[a-z0-9]+)?", limit)
    return word is not None and ("." in word[0] or word[0] in METRIC_KINDS)


def parse_abort(metric_text: str, condition_text: str) -> Gate:
    """A gate that breaks the migration off when it comes true: `stall.max` and `> 10s`."""
    gate = parse_gate(metric_text, condition_text)
    live = {name: kind for name, kind in METRIC_KINDS.items() if kind.live}
    if gate.metric.name not in live:
        mend = suggestion(gate.metric.name, live, otherwise="those that are")
        raise ScenarioError(f"`{gate.metric.name}` is not known while the migration runs", mend)
    if gate.metric.selector:
        raise ScenarioError(f"`{gate.metric}` must have no selector", f"write `{gate.metric.name}`")
    if gate.relative_to is not None:
        raise ScenarioError(f"`{gate.metric}` is compared with `{gate.relative_to}`", "give a fixed limit")
    if gate.comparison not in (Comparison.ABOVE, Comparison.AT_LEAST):
        mend = f"write `> {condition_text.strip().lstrip('<=> ')}`: it says when to break off"
        raise ScenarioError(f"`{gate.comparison.value}` does not break off", mend)
    return gate


def parse_abort_expression(text: str) -> Gate:
    """An abort gate in one piece, as on the command line: `stall.max > 10s`."""
    return parse_abort(*_split(text))


def parse_gate_expression(text: str, scripts: Iterable[str] | None = None) -> Gate | MetricRef:
    """A gate in one piece, as on the command line: `stall.max <= 500ms`.

    A metric switched off (`stall.max off`) comes back as the metric alone.
    """
    metric_text, condition = _split(text)
    if condition == OFF:
        return parse_metric(metric_text, scripts)
    return parse_gate(metric_text, condition, scripts)


def _split(text: str) -> tuple[str, str]:
    match = re.match(r"\s*([^\s{}<>=]+\s*(?:\{[^{}]*\})?)\s*(.*)", text, re.DOTALL)
    if match is None or not match[2].strip():
        raise ScenarioError(f"`{text.strip()}` is not a gate", "write it as `stall.max <= 500ms`")
    return match[1], match[2].strip()


def with_gates(base: Sequence[Gate], changes: Iterable[Gate | MetricRef]) -> tuple[Gate, ...]:
    """`base` with each change made in turn: a gate replaces the one on the same metric, or joins them;
    a bare metric takes its gate away.
    """
    gates = {gate.metric: gate for gate in base}
    for change in changes:
        if isinstance(change, Gate):
            gates[change.metric] = change
        else:
            gates.pop(change, None)
    return tuple(gates.values())


def default_gates() -> tuple[Gate, ...]:
    """The gates that hold where the user says nothing."""
    return tuple(parse_gate(metric, condition) for metric, condition in DEFAULT_GATES)


def _factor(text: str, sign: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        raise ScenarioError(f"`{text}{sign}` is not a factor", "write `3x`, `1.5x` or `150%`") from None
    if factor <= 0:
        raise ScenarioError(f"the factor `{text}{sign}` must be above 0")
    return factor / 100 if sign == "%" else factor


def _comparable(other: MetricRef, metric: MetricRef) -> MetricRef:
    mine, theirs = METRIC_KINDS[metric.name].unit, METRIC_KINDS[other.name].unit
    if mine is not theirs:
        what = f"`{metric}` is {_WORD[mine]} and `{other}` is {_WORD[theirs]}"
        raise ScenarioError(what, "compare like with like")
    if other == metric:
        raise ScenarioError(f"`{metric}` is compared with itself", "name another phase or metric")
    return other


def _quantity(text: str, metric: MetricRef) -> float:
    """The value of `text` in the base unit of `metric`."""
    unit = METRIC_KINDS[metric.name].unit
    mend = f"write it as `{_EXAMPLE[unit]}`"
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ScenarioError(f"`{text.strip()}` is not a limit for `{metric}`", mend)
    number, suffix = float(match[1].replace("_", "")), match[2]
    if suffix == "":
        if unit not in _PLAIN:
            raise ScenarioError(f"the limit `{text}` of `{metric}` has no unit", mend)
        return _checked(number, unit, text, metric)
    if suffix not in _UNITS:
        raise ScenarioError(f"unknown unit `{suffix}` in the limit of `{metric}`", mend)
    its_unit, scale = _UNITS[suffix]
    if its_unit is not unit:
        raise ScenarioError(f"`{metric}` is {_WORD[unit]}, and `{text}` is {_WORD[its_unit]}", mend)
    return _checked(number * scale, unit, text, metric)


def _checked(value: float, unit: Unit, text: str, metric: MetricRef) -> float:
    if unit is Unit.RATIO and value > 1:
        raise ScenarioError(f"the limit `{text}` of `{metric}` is above 100 %", "write `0.1%` or `0.001`")
    return value
