"""Masking rules as a person writes them: TOML, read strictly, into frozen types."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from rehearse.errors import InputError

KEEP = "keep"
AUTO = "auto"
SCHEMA = "the schema"  # in [leaks] allow: the SQL that goes with the rows
KEYS = "{}"  # ends a path that means the keys of the object there
MASKS: Mapping[str, str] = {
    AUTO: "the mask that type and name suggest",
    KEEP: "passed through as it is; needs a reason",
    "null": "NULL",
    "constant": "the same `value` in every row",
    "name": "a made-up full name",
    "first_name": "a made-up given name",
    "last_name": "a made-up family name",
    "email": "an address at a domain reserved for examples",
    "phone": "other digits in the same format, marked by check digits",
    "text": "other letters and digits in the places of those that were there",
    "hash": "hexadecimal digits of a keyed hash",
    "number": "times a factor within 1 +- `within`",
    "date": "shifted by at most `within`; order is kept",
    "key": "a permutation of the keys with as many digits, one for each domain",
    "json": "every leaf by its own mask",
}
_OPTIONS = {"mask", "reason", "value", "within", "min", "max", "domain"}
_TABLES = {"columns", "inventory", "leaks"}
_WITHIN = re.compile(r"(\d+(?:\.\d+)?) *(%|d|h|y)?")
_DAYS = {"h": 1 / 24, "d": 1.0, "y": 365.25}
DEFAULT_SHARE = 0.2
DEFAULT_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What is to be done to a column or to a part of one.

    `within` is a share for numbers and a number of days for dates; `low` and `high` bound what comes out.
    """

    mask: str
    reason: str = ""
    value: str | None = None
    within: float | None = None
    low: float | None = None
    high: float | None = None
    domain: str = ""


@dataclass(frozen=True, slots=True)
class PatternRule:
    """A rule and the pattern `table.column[:path]` that it was written for."""

    pattern: str
    rule: MaskRule

    @property
    def column(self) -> str:
        """The pattern without the path."""
        return self.pattern.partition(":")[0]

    @property
    def is_wildcard(self) -> bool:
        """Whether it is for more columns than one."""
        return any(char in self.column for char in "*?[")

    @property
    def path(self) -> str:
        """The path inside of the column's value, empty for the whole."""
        return self.pattern.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Rules:
    """All of a file. `inventory` None: the file has none; `leaks` are columns with the reason why values
    that also stand in masked columns may stand there.
    """

    file: str
    rules: tuple[PatternRule, ...] = ()
    inventory: Mapping[str, frozenset[str]] | None = None
    leaks: Mapping[str, str] = field(default_factory=dict)

    def for_column(self, names: tuple[str, ...], column: str) -> PatternRule | None:
        """The rule of a column of a table that goes by `names`: exact ones first, then wildcards in order."""
        wanted = [f"{name}.{column}" for name in names]
        whole = [rule for rule in self.rules if not rule.path]
        exact = next((rule for rule in whole if rule.pattern in wanted), None)
        return exact or next(
            (rule for rule in whole if any(fnmatchcase(name, rule.pattern) for name in wanted)), None
        )

    def paths(self, names: tuple[str, ...], column: str) -> tuple[PatternRule, ...]:
        """Rules for parts of the column."""
        wanted = [f"{name}.{column}" for name in names]
        return tuple(
            rule
            for rule in self.rules
            if rule.path and any(fnmatchcase(name, rule.column) for name in wanted)
        )


def read_rules(path: Path) -> Rules:
    """The rules in a file. Raises InputError, naming the file and what is wrong in it."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{path}: {reason}", "write one: rehearse data mask ... --draft FILE") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    return parse_rules(document, str(path))


def parse_rules(document: Mapping[str, object], file: str) -> Rules:
    """A document as read. Raises InputError."""
    _known(document, _TABLES, file, "table")
    columns = _table(document.get("columns", {}), f"{file}: [columns]")
    inventory = document.get("inventory")
    leaks = _table(document.get("leaks", {}), f"{file}: [leaks]")
    _known(leaks, {"allow"}, f"{file}: [leaks]", "key")
    allowed = _table(leaks.get("allow", {}), f"{file}: [leaks] allow")
    return Rules(
        file,
        tuple(PatternRule(name, _rule(value, f'{file}: "{name}"')) for name, value in columns.items()),
        None if inventory is None else _inventory(_table(inventory, f"{file}: [inventory]"), file),
        {name: str(reason) for name, reason in allowed.items()},
    )


def parse_mask(name: str, where: str) -> str:
    """A mask's name, checked. Raises InputError with the nearest one."""
    if name in MASKS:
        return name
    near = difflib.get_close_matches(name, MASKS, n=1)
    raise InputError(
        f"{where}: there is no mask {name!r}",
        f"did you mean {near[0]}?" if near else f"there are {', '.join(MASKS)}",
    )


def _rule(value: object, where: str) -> MaskRule:
    options = {"mask": value} if isinstance(value, str) else _table(value, where)
    _known(options, _OPTIONS, where, "option")
    mask = parse_mask(str(options.get("mask", "")), where)
    reason = str(options.get("reason", "")).strip()
    if mask == KEEP and not reason:
        raise InputError(
            f"{where}: keep needs a reason", '{ mask = "keep", reason = "why nobody is named by it" }'
        )
    if mask == "constant" and "value" not in options:
        raise InputError(f"{where}: constant needs a value", '{ mask = "constant", value = "..." }')
    return MaskRule(
        mask,
        reason,
        str(options["value"]) if "value" in options else None,
        _within(options["within"], where) if "within" in options else None,
        _number(options.get("min"), where),
        _number(options.get("max"), where),
        str(options.get("domain", "")),
    )


def _within(value: object, where: str) -> float:
    match = _WITHIN.fullmatch(str(value).strip())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"{where}: within is neither a share nor a time", '"20%", "30d", "12h" or "1y"')
    number = float(match[1])
    return number / 100 if match[2] == "%" else number * _DAYS.get(match[2] or "", 1.0)


def _number(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: min and max are numbers")
    return float(value)


def _inventory(table: Mapping[str, object], file: str) -> dict[str, frozenset[str]]:
    for name, columns in table.items():
        if not isinstance(columns, list):
            raise InputError(f"{file}: [inventory] {name} is not a list of columns")
    return {
        name: frozenset(map(str, columns)) for name, columns in table.items() if isinstance(columns, list)
    }


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is not a table")
    return value


def _known(table: Mapping[str, object], valid: set[str], where: str, what: str) -> None:
    for name in table:
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(valid))}"
            raise InputError(f"{where}: there is no {what} {name!r}", mend)
