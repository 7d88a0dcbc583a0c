"""Names out of a statement's text, for advice that speaks of the very objects at hand.

These are patterns, not a parser: where one does not match, advice falls back to a general form. No
lock or work is read from text; what is of a verdict is whether it bounds the rows a statement can change, and
settings that no catalog of the copy shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
NAME = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_ALTER = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{NAME})\s*\*?\s+(?P<action>.*)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AlterTable:
    """`ALTER TABLE table action[, action ...]`, names as written."""

    table: str
    actions: tuple[str, ...]


def one_line(text: str) -> str:
    """The statement without comments and line breaks, without its semicolon."""
    return " ".join(_COMMENTS.sub(" ", text).split()).rstrip("; ")


def alter_table(text: str) -> AlterTable | None:
    """The table and actions of an ALTER TABLE; None for anything else."""
    match = _ALTER.match(one_line(text))
    return AlterTable(match["table"], _split(match["action"])) if match else None


def at_where(text: str) -> tuple[str, str]:
    """A statement on one line before its own WHERE, and the condition; one of a subquery is not its own."""
    depth = 0
    for match in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]|\bWHERE\b", text, re.IGNORECASE):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0].upper() == "WHERE":
            return text[: match.start()].strip(), text[match.end() :].strip()
    return text.strip(), ""


def find(pattern: str, text: str) -> re.Match[str] | None:
    """`pattern` at the start of `text`, letters of either case; `{NAME}` in it stands for a name."""
    return re.match(pattern.replace("{NAME}", NAME), text, re.IGNORECASE | re.DOTALL)


def bare(name: str) -> str:
    """The last part of a name, without quotes: for making new names out of it."""
    return name.rsplit(".", maxsplit=1)[-1].strip().strip('"')


def derived(name: str, suffix: str) -> str:
    """A new name made of `name`, quoted where it has to be."""
    made = f"{bare(name)}{suffix}"
    return made if re.fullmatch(r"[a-z_][a-z0-9_$]*", made) else '"' + made.replace('"', '""') + '"'


def _split(actions: str) -> tuple[str, ...]:
    """At the commas that stand outside of parentheses and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, char in enumerate(actions):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "()[]":
            depth += 1 if char in "([" else -1
        elif char == "," and depth == 0:
            parts.append(actions[start:place].strip())
            start = place + 1
    return (*parts, actions[start:].strip())
