"""Single entries of a scenario: each kind read strictly, with the JSON Schema of how it may be written."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from rehearse.model.migration import TransactionMode
from rehearse.model.target import EngineName
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Arrivals, Protocol
from rehearse.scenario.addresses import is_known
from rehearse.scenario.nearest import suggestion
from rehearse.scenario.values import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SHARE_PATTERN,
    SIZE_PATTERN,
    RefusedError,
    parse_count,
    parse_duration,
    parse_share,
    parse_size,
)

EVERY_OTHER = "*"
"""In a table of row counts: all tables that it does not name."""

INCLUDE = "include"
"""In a table of server settings, as in postgresql.conf: the file that holds another server's."""

_NAME = re.compile(r"[^\W_][\w.-]{0,79}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _known_provision(provision: str) -> str:
    if is_known(provision):
        return provision
    # The value is not repeated: a mistyped address may hold a password.
    raise RefusedError(
        "must be `embedded`, `docker:IMAGE`, `local:BINDIR` or a DSN such as `postgresql://...`"
    )


def _folder_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise RefusedError("must be up to 80 letters, digits, `.`, `_` and `-`", "it names a folder")
    return name


def _variable_name(name: str) -> str:
    if _VARIABLE.fullmatch(name) is None:
        raise RefusedError("is not a variable's name", "use letters, digits and `_`, and no digit first")
    return name


def _filled(text: str) -> str:
    if not text.strip():
        raise RefusedError("must not be empty")
    return text


def _at_least_one_row(count: int) -> int:
    if count < 1:
        raise RefusedError("must be at least 1", "a verdict for an empty table would mean nothing")
    return count


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise RefusedError("must be longer than 0")
    return seconds


def _not_negative(seconds: float) -> float:
    if seconds < 0:
        raise RefusedError("must not be negative")
    return seconds


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    raise RefusedError("must be text, a number, true or false")


def _as_settings(value: object) -> object:
    return {INCLUDE: value} if isinstance(value, str) else value


def _some_processors(cpus: float) -> float:
    if not 0.01 <= cpus <= 4096:
        raise RefusedError("must be a number of processors, such as 1 or 0.5")
    return cpus


def _enough_memory(size: int) -> int:
    if size < _LEAST_MEMORY_BYTES:
        raise RefusedError("must be at least 64MB", "a server needs that much to start")
    return size


def one_of(*valid: str) -> AfterValidator:
    """One of the words of `valid`; of others the nearest is named."""

    def check(value: str) -> str:
        if value not in valid:
            raise RefusedError(f'must not be "{value}"', suggestion(value, valid, otherwise="it is one of"))
        return value

    return AfterValidator(check)


def _as_day(value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, date) or isinstance(value, datetime):
        raise RefusedError("must be a day", "write it as 2027-01-31")
    return value


def as_list(value: object) -> object:
    """A single text may stand for a list of one."""
    return [value] if isinstance(value, str) else value


def _as_table(value: object) -> object:
    return value if isinstance(value, dict) else {EVERY_OTHER: value}


_LEAST_MEMORY_BYTES = 64 * 1024**2
_COUNT_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": COUNT_PATTERN}]
}
_ROWS_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": COUNT_PATTERN},
        {"type": "object", "additionalProperties": _COUNT_SCHEMA},
    ]
}
DURATION_SCHEMA: dict[str, object] = {"type": "string", "pattern": DURATION_PATTERN}
_FILES_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}


def choices(values: list[str]) -> WithJsonSchema:
    """In the schema that editors read: one of `values`."""
    return WithJsonSchema({"type": "string", "enum": values})


ENGINES = [engine.value for engine in EngineName]
PROTOCOLS = [protocol.value for protocol in Protocol]
ARRIVALS = [arrivals.value for arrivals in Arrivals]
MODES = [mode.value for mode in TransactionMode]
TRIALS = [kind.value for kind in TrialKind]

ALL_TRIALS = "all"
"""In the list of trials: every kind there is."""

Text = Annotated[str, AfterValidator(_filled)]
Count = Annotated[int, BeforeValidator(parse_count)]
Rows = Annotated[dict[Text, Count], BeforeValidator(_as_table), WithJsonSchema(_ROWS_SCHEMA)]
ProductionRows = Annotated[
    dict[Text, Annotated[Count, AfterValidator(_at_least_one_row)]],
    BeforeValidator(_as_table),
    WithJsonSchema(_ROWS_SCHEMA),
]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(DURATION_SCHEMA)]
Length = Annotated[Duration, AfterValidator(_positive)]
LengthOrNone = Annotated[Duration, AfterValidator(_not_negative)]
Day = Annotated[date, BeforeValidator(_as_day), WithJsonSchema({"type": "string", "format": "date"})]
Files = Annotated[list[Text], BeforeValidator(as_list), WithJsonSchema(_FILES_SCHEMA)]
Setting = Annotated[
    str, BeforeValidator(_setting_text), WithJsonSchema({"type": ["string", "boolean", "number"]})
]

Settings = Annotated[
    dict[Text, Setting],
    BeforeValidator(_as_settings),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": ["string", "boolean", "number"]}},
            ]
        }
    ),
]
Size = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})
]


Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SHARE_PATTERN}, {"type": "number"}]}),
]


def lasting(default: str, description: str) -> float:
    """A field whose default is a duration: seconds for us, text in the schema that editors read."""
    field: float = Field(
        parse_duration(default), description=description, json_schema_extra={"default": default}
    )
    return field


def _as_words(value: object) -> object:
    if isinstance(value, str):
        words = ", ".join(f'"{word}"' for word in value.split())
        raise RefusedError("must be an array, as there is no shell to take it apart", f"write [{words}]")
    return value


Command = Annotated[list[Text], BeforeValidator(_as_words)]

FolderName = Annotated[str, AfterValidator(_folder_name)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
Provision = Annotated[str, AfterValidator(_known_provision)]
Processors = Annotated[float, AfterValidator(_some_processors)]
Memory = Annotated[Size, AfterValidator(_enough_memory)]
Words = Annotated[list[Text], BeforeValidator(as_list)]
