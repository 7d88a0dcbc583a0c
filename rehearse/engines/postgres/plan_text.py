"""A plan as lines of text that may be shown to anybody: the nodes and what they did, without any value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Node = Mapping[str, Json]

_MOST_LINES = 40
_MOST_CHARACTERS = 200
_CONDITIONS = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter", "Sort Key")
# Literals: quoted ones with their escapes and casts, then numbers that are no part of a name. What stands in
# double quotes is a name, and stays.
_LITERAL = re.compile(
    r"""("(?:[^"]|"")*")|[EBX]?'(?:[^'\\]|''|\\.)*'|(?<![\w$."])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w$])"""
)
_PARAMETER = re.compile(r"\$\d+")


def without_literals(text: str) -> str:
    """An expression as the server prints it, with `?` for every value in it."""
    kept = _LITERAL.sub(lambda match: match.group(1) or "?", text)
    return _PARAMETER.sub("?", kept)


def plan_lines(document: Node) -> tuple[str, ...]:
    """One document of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON), as lines: nodes indented by their depth."""
    plan = document.get("Plan")
    lines = list(_node(plan, 0)) if isinstance(plan, dict) else []
    triggers = document.get("Triggers")
    for trigger in triggers if isinstance(triggers, list) else ():
        if isinstance(trigger, dict):
            lines.append(_trigger(trigger))
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"... and {len(lines) - _MOST_LINES + 1} more lines"]
    return tuple(
        line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…" for line in lines
    )


def _node(node: Node, depth: int) -> Iterator[str]:
    indent = "  " * depth
    arrow = "-> " if depth else ""
    yield f"{indent}{arrow}{_name(node)}{_did(node)}"
    for condition in _CONDITIONS:
        value = node.get(condition)
        if isinstance(value, list):
            value = ", ".join(str(part) for part in value)
        if isinstance(value, str):
            yield f"{indent}     {condition}: {without_literals(value)}"
    children = node.get("Plans")
    for child in children if isinstance(children, list) else ():
        if isinstance(child, dict):
            yield from _node(child, depth + 1)


def _name(node: Node) -> str:
    kind = str(node.get("Node Type", "?"))
    if kind == "ModifyTable":
        kind = str(node.get("Operation", kind))
    index, table = node.get("Index Name"), node.get("Relation Name")
    return kind + (f" using {index}" if index else "") + (f" on {table}" if table else "")


def _did(node: Node) -> str:
    """What it did on this run: rows over all loops, those that a filter threw away, blocks."""
    loops = _number(node.get("Actual Loops"))
    rows = _number(node.get("Actual Rows")) * loops
    removed = _number(node.get("Rows Removed by Filter")) * loops
    blocks = sum(
        _number(node.get(key))
        for key in ("Shared Hit Blocks", "Shared Read Blocks", "Local Hit Blocks", "Local Read Blocks")
    )
    if not loops:
        return " (never executed)"
    parts = [f"{rows:,.0f} rows"]
    parts += [f"{loops:,.0f} times"] if loops > 1 else []
    parts += [f"{removed:,.0f} thrown away"] if removed else []
    parts.append(f"{blocks:,.0f} blocks")
    return f" ({', '.join(parts)})"


def _trigger(trigger: Node) -> str:
    constraint, name = trigger.get("Constraint Name"), trigger.get("Trigger Name")
    what = f"Trigger for constraint {constraint}" if constraint else f"Trigger {name}"
    relation = trigger.get("Relation")
    calls = _number(trigger.get("Calls"))
    milliseconds = _number(trigger.get("Time"))
    return f"{what}{f' on {relation}' if relation else ''} ({calls:,.0f} calls, {milliseconds:,.1f} ms)"


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
