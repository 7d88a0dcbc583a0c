"""What pydantic found wrong with a document, as one sentence that names the place and the mend."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rehearse.errors import ScenarioError
from rehearse.scenario.document import ScenarioDocument
from rehearse.scenario.lines import Loc
from rehearse.scenario.nearest import nearest
from rehearse.scenario.places import Places, dotted
from rehearse.scenario.values import RefusedError

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a table",
    "string_type": "text",
}
_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
# tables whose keys are names out of the schema
_NAMED = (("dataset", "columns"), ("dataset", "tables"))
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def first_problem(error: ValidationError, places: Places) -> ScenarioError:
    """The problem to tell the user of: an unknown key before all else (it explains a missing one), then
    the one that stands first in the file.
    """

    def order(detail: ErrorDetails) -> tuple[bool, int]:
        return detail["type"] != "extra_forbidden", places.line(detail["loc"]) or 0

    return _described(min(error.errors(include_url=False), key=order), places)


def _described(detail: ErrorDetails, places: Places) -> ScenarioError:
    what, mend = _sentence(detail)
    return places.error(detail["loc"], what, mend)


def _sentence(detail: ErrorDetails) -> tuple[str, str]:
    loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    refusal = context.get("error")
    if kind == "extra_forbidden":
        sentence = "unknown key {}", _nearest_key(loc)
    elif kind == "missing":
        sentence = "missing key {}", _wanted(loc)
    elif kind == "too_short":
        sentence = "{} must not be empty", ""
    elif kind == "list_type" and isinstance(detail["input"], dict) and _is_list_of_tables(loc):
        sentence = "{} must be a list of tables, not a table", f"write [[{dotted(loc)}]]"
    elif kind == "string_type" and loc[0] in ("gates", "abort"):
        sentence = "{} must be a condition in quotes", _gate_mend(loc, detail["input"])
    elif kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        sentence = f"{{}} must be {word} {context[key]:.15g}, not {detail['input']:.15g}", ""
    elif isinstance(refusal, RefusedError):
        sentence = "{} " + refusal.what, refusal.mend
    else:
        expected = _EXPECTED.get(kind, "something else")
        sentence = f"{{}} must be {expected}, not {_named(detail['input'])}", ""
    return sentence


def _is_list_of_tables(loc: Loc) -> bool:
    """Whether what stands there is written as `[[name]]`."""
    fields = ScenarioDocument.model_fields
    annotations = {info.alias or name: info.annotation for name, info in fields.items()}
    found = annotations.get(str(loc[0])) if len(loc) == 1 else None
    return typing.get_origin(found) is list and any(True for _ in _models_in(found))


def _named(value: object) -> str:
    """What kind of value it is; not the value, which may be long or secret."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _NAMES.get(type(value), f"a {type(value).__name__}")


def _wanted(loc: Loc) -> str:
    key = str(loc[-1])
    if loc[:-1] == () and key in ("dataset", "migration"):
        return f"a scenario needs a [{key}] table"
    return ""


def _gate_mend(loc: Loc, given: object) -> str:
    if isinstance(given, dict):
        name = ".".join(str(part) for part in (*loc[1:], *given))
        return f'put the metric in quotes: "{name}" = "<= 1s"'
    return 'such as "<= 1s"'


def _nearest_key(loc: Loc) -> str:
    """The key most likely meant: of the same table, by that name in another, or spelled alike anywhere."""
    name, table = str(loc[-1]), dotted(_without_names(_without_indexes(loc[:-1])))
    everything = dict(document_keys())
    here = [key.rpartition(".")[2] for key, parent in everything.items() if parent == table]
    close = nearest(name, here)
    if close is not None:
        return f"did you mean `{dotted((*loc[:-1], close))}`?"
    elsewhere = {key.rpartition(".")[2]: key for key in everything}
    found = elsewhere.get(name) or elsewhere.get(nearest(name, elsewhere) or "")
    if found is not None:
        return f"did you mean `{found}`?"
    return "valid here: " + ", ".join(f"`{key}`" for key in here)


def _without_names(loc: Loc) -> Loc:
    """Without the user's own names in the path: of `dataset.columns."orders.status"`, `dataset.columns`."""
    return loc[:2] + loc[3:] if loc[:2] in _NAMED else loc


def _without_indexes(loc: Loc) -> Loc:
    return tuple(part for part in loc if isinstance(part, str))


def document_keys() -> Iterator[tuple[str, str]]:
    """Every key of a scenario by its dotted path, with the path of the table it is in."""
    yield from _keys_of(ScenarioDocument, "")


def _keys_of(model: type[BaseModel], table: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        key = info.alias or name
        path = f"{table}.{key}" if table else key
        yield path, table
        for inner in _models_in(info.annotation):
            yield from _keys_of(inner, path)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The tables that a value may be: alone, one of several, or annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)
