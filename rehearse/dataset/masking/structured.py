"""Masks of values that have parts: arrays, composites, ranges, documents, and the rarer types.

A value is taken apart as the server prints it, its parts are masked by the masks of their types, all parts
of a column at once, and it is put together again. What cannot be taken apart halts the run.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

from rehearse.dataset.masking.masks import Masker, UnreadableError, over_distinct, partial_of
from rehearse.dataset.masking.patterns import found

if TYPE_CHECKING:
    import polars as pl

Part: TypeAlias = tuple[str, str]  # which masker, and the text
One: TypeAlias = Callable[[str], str]
Odd: TypeAlias = Callable[[str, str], bool]

_ARRAY = re.compile(r'"(?:[^"\\]|\\.)*"|[^{},"]+|[{},]', re.DOTALL)
_ARRAY_OF_BOXES = re.compile(r'"(?:[^"\\]|\\.)*"|[^{};"]+|[{};]', re.DOTALL)
_FIELD = re.compile(r'((?:"(?:[^"\\]|\\.|"")*"|[^,()"\\]|\\.)*)([,)])', re.DOTALL)
_RANGE = re.compile(r'([\[(])("(?:[^"\\]|\\.)*"|[^,"]*),("(?:[^"\\]|\\.)*"|[^,"\])]*)([\])])')
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z_$@][\w.$@-]{0,40}\Z", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_LEXEME = re.compile(r"'((?:[^'\\]|''|\\.)*)'")
_POSITIONS = re.compile(r"[\s:,\dABCD]+")
_HSTORE = re.compile(r'"((?:[^"\\]|\\.)*)"=>(NULL|"((?:[^"\\]|\\.)*)")', re.DOTALL)
_INTERVAL = re.compile(r"(-?\d+)( (?:year|mon|day)s?)|([+-]?\d+):(\d\d):(\d\d)(\.\d+)?")


def arrays(element: Masker, *, boxes: bool = False) -> Masker:
    """Every element of arrays of any number of dimensions; NULL elements stay. `boxes` have semicolons
    between them.
    """
    token_in = _ARRAY_OF_BOXES if boxes else _ARRAY

    def mask(values: pl.Series) -> pl.Series:
        parts: list[str] = []
        shapes = []
        for value in values.to_list():
            bounds, body = _without_bounds(value)
            tokens = token_in.findall(body)
            if "".join(tokens) != body:
                raise UnreadableError("arrays that cannot be taken apart")
            shapes.append((bounds, tokens))
            parts += [_unquoted(token) for token in tokens if _is_element(token)]
        masked = iter(applied(element, parts))
        return series(
            bounds + "".join(_quoted(next(masked)) if _is_element(token) else token for token in tokens)
            for bounds, tokens in shapes
        )

    return over_distinct(mask)


def array_items(value: str) -> list[str]:
    """The elements of an array of any number of dimensions; those that are NULL left out."""
    return [_unquoted(token) for token in _ARRAY.findall(_without_bounds(value)[1]) if _is_element(token)]


def composites(attributes: Sequence[Masker]) -> Masker:
    """Every attribute by its own mask; NULL attributes stay."""

    def mask(values: pl.Series) -> pl.Series:
        rows = [_fields(value, len(attributes)) for value in values.to_list()]
        columns = []
        for place, masker in enumerate(attributes):
            column = [row[place] for row in rows]
            masked = iter(applied(masker, [text for text in column if text is not None]))
            columns.append([None if text is None else next(masked) for text in column])
        return series(
            "(" + ",".join("" if text is None else _row_quoted(text) for text in row) + ")"
            for row in zip(*columns, strict=True)
        )

    return over_distinct(mask)


def ranges(bound: Masker) -> Masker:
    """Both bounds of ranges and of all ranges of multiranges, by a mask that keeps order."""

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        parts: list[str] = []
        for value in given:
            if _RANGE.sub("", value).strip("{},") not in {"", "empty"}:
                raise UnreadableError("ranges that cannot be taken apart")
            for match in _RANGE.finditer(value):
                parts += [_unquoted(text) for text in match.group(2, 3) if text]
        masked = iter(applied(bound, parts))

        def put(match: re.Match[str]) -> str:
            low, high = (f'"{next(masked)}"' if text else "" for text in match.group(2, 3))
            return f"{match[1]}{low},{high}{match[4]}"

        return series(_RANGE.sub(put, value) for value in given)

    return over_distinct(mask)


def documents(
    mask_for: Callable[[str, str], str], maskers: Mapping[str, Masker], key_mask: Masker, odd: Odd
) -> Masker:
    """JSON: every leaf by the masker that `mask_for(path, type)` names, `keep` among them.

    A path is `$.contact.emails`, the same for every element of an array. Keys for which `odd(path, key)`,
    since they are data rather than names, are masked by `key_mask`, by which no two may meet.
    """

    def mask(values: pl.Series) -> pl.Series:
        roots = [json.loads(value) for value in values.to_list()]
        parts: dict[str, list[str]] = defaultdict(list)
        data: list[str] = []
        for root in roots:
            for path, leaf in leaves(root, "$"):
                parts[mask_for(path, _kind(leaf))].append(_leaf_text(leaf))
            data += _odd_keys(root, "$", odd)
        done = {
            name: iter(texts if name == "keep" else applied(maskers[name], texts))
            for name, texts in parts.items()
        }
        keys = dict(zip(data, applied(key_mask, data), strict=True))

        def put(node: object, path: str) -> object:
            if isinstance(node, dict):
                return {
                    keys[key] if odd(path, key) else key: put(value, _step(path, key))
                    for key, value in node.items()
                }
            if isinstance(node, list):
                return [put(item, path) for item in node]
            kind = _kind(node)
            return node if kind == "null" else _leaf_of(kind, next(done[mask_for(path, kind)]))

        return series(json.dumps(put(root, "$"), ensure_ascii=False) for root in roots)

    return over_distinct(mask)


def times(key: bytes) -> Masker:
    """Another time of day; the zone stays."""

    def one(text: str) -> str:
        number = int.from_bytes(blake2b(text.encode(), key=key, digest_size=8).digest(), "big") % 86_400
        zone = re.search(r"[+-]\d\d(:\d\d)*\Z", text)
        hours, minutes = divmod(number // 60, 60)
        return f"{hours:02d}:{minutes:02d}:{number % 60:02d}{zone[0] if zone else ''}"

    return partial_of(one)


def intervals(scale: One) -> Masker:
    """Every part by one factor of the domain."""

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return f"{round(float(scale(match[1] + '.0')))}{match[2]}"
        negative = match[3].startswith("-")
        seconds = abs(int(match[3])) * 3600 + int(match[4]) * 60 + int(match[5])
        return f"{'-' if negative else ''}{abs(float(scale(f'{seconds}.000'))):.3f} seconds"

    def one(text: str) -> str:
        if _INTERVAL.sub("", text).strip() not in {"", "infinity", "-infinity"}:
            raise UnreadableError("intervals in another style than PostgreSQL's own")
        return _INTERVAL.sub(put, text)

    return partial_of(one)


def shapes(number: Masker) -> Masker:
    """Every number in a value that is made of them: points, polygons, vectors."""

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        masked = iter(applied(number, [text for value in given for text in _NUMBER.findall(value)]))
        return series(_NUMBER.sub(lambda _: next(masked), value) for value in given)

    return over_distinct(mask)


def lexemes(text: Masker) -> Masker:
    """The lexemes of a tsvector; positions and weights stay."""

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        if any(_POSITIONS.sub("", _LEXEME.sub("", value)) for value in given):
            raise UnreadableError("tsvectors that cannot be taken apart")
        parts = [match[1] for value in given for match in _LEXEME.finditer(value)]
        masked = iter(applied(text, parts))
        return series(
            _LEXEME.sub(lambda _: "'" + next(masked).replace("\\", "").replace("'", "") + "'", value)
            for value in given
        )

    return over_distinct(mask)


def stores(text: Masker, key_mask: Masker, odd: Odd) -> Masker:
    """The values of an hstore; keys for which `odd("$", key)` by `key_mask`, by which no two may meet."""

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        pairs = [match for value in given for match in _HSTORE.finditer(value)]
        if any(_HSTORE.sub("", value).strip(", ") for value in given):
            raise UnreadableError("hstore values that cannot be taken apart")
        names = [_UNESCAPE.sub(r"\1", match[1]) for match in pairs]
        data = [name for name in names if odd("$", name)]
        keys = dict(zip(data, applied(key_mask, data), strict=True))
        parts = [_UNESCAPE.sub(r"\1", match[3]) for match in pairs if match[3] is not None]
        masked = iter(applied(text, parts))

        def put(match: re.Match[str]) -> str:
            name = _UNESCAPE.sub(r"\1", match[1])
            key = _quoted(keys.get(name, name))
            return f"{key}=>{'NULL' if match[3] is None else _quoted(next(masked))}"

        return series(_HSTORE.sub(put, value) for value in given)

    return over_distinct(mask)


def store_parts(value: str) -> tuple[list[str], list[str]]:
    """The keys and the values of an hstore."""
    pairs = list(_HSTORE.finditer(value))
    keys = [_UNESCAPE.sub(r"\1", pair[1]) for pair in pairs]
    return keys, [_UNESCAPE.sub(r"\1", pair[3]) for pair in pairs if pair[3] is not None]


def applied(masker: Masker, parts: list[str]) -> list[str]:
    """The mask of a list of texts."""
    return masker(series(parts)).to_list() if parts else []


def series(texts: Iterator[str] | list[str]) -> pl.Series:
    """Texts as a column."""
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    return pl.Series(list(texts), dtype=pl.String)


def _without_bounds(value: str) -> tuple[str, str]:
    """`[2:4]={...}` says where its subscripts begin."""
    if value.startswith("["):
        bounds, _, body = value.partition("=")
        return bounds + "=", body
    return "", value


def _is_element(token: str) -> bool:
    return token not in {"{", "}", ",", ";", "NULL"}


def _unquoted(text: str) -> str:
    return _UNESCAPE.sub(r"\1", text[1:-1]) if text.startswith('"') else text


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _row_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _fields(value: str, width: int) -> list[str | None]:
    fields: list[str | None] = []
    position = 1
    while match := _FIELD.match(value, position):
        raw = match[1]
        inner = re.sub(r'"((?:[^"\\]|\\.|"")*)"', lambda m: m[1].replace('""', '\\"'), raw, flags=re.DOTALL)
        fields.append(_UNESCAPE.sub(r"\1", inner) if raw else None)
        position = match.end()
    if position != len(value) or len(fields) != width:
        raise UnreadableError("rows of a composite type that cannot be taken apart")
    return fields


def _step(path: str, key: str) -> str:
    return f"{path}.{key}"


def leaves(node: object, path: str) -> Iterator[tuple[str, object]]:
    """Path and value of everything in a JSON document that has no parts of its own; nulls left out."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, _step(path, key))
    elif isinstance(node, list):
        for item in node:
            yield from leaves(item, path)
    elif node is not None:
        yield path, node


def _odd_keys(node: object, path: str, odd: Odd) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if odd(path, key):
                yield key
            yield from _odd_keys(value, _step(path, key), odd)
    elif isinstance(node, list):
        for item in node:
            yield from _odd_keys(item, path, odd)


def plain(key: str) -> bool:
    """Whether a name in a document looks like one that a program gave it."""
    return bool(_PLAIN_KEY.match(key)) and len(re.findall(r"\d", key)) < 5 and not any(found(key))


def _kind(node: object) -> str:
    if isinstance(node, bool):
        return "boolean"
    return "null" if node is None else "number" if isinstance(node, int | float) else "string"


def _leaf_text(node: object) -> str:
    if isinstance(node, float) and math.isinf(node):
        raise UnreadableError("numbers of more than 308 digits")
    return json.dumps(node) if isinstance(node, bool) else str(node)


def _leaf_of(kind: str, text: str | None) -> object:
    if text is None:
        return None
    if kind == "string":
        return text
    if kind == "boolean":
        return text == "true"
    if not _NUMBER.fullmatch(text):  # a rule has a name or the like put there
        return text
    try:
        return int(text)
    except ValueError:
        return float(text)
