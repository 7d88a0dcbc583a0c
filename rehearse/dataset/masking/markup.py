"""The mask of XML: what stands between the tags and in attributes; elements and their names stay."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from rehearse.dataset.masking.masks import Masker, UnreadableError, over_distinct
from rehearse.dataset.masking.structured import applied, plain, series

if TYPE_CHECKING:
    import polars as pl

# an attribute's value may hold a ">"
_PIECE = re.compile(
    r"""(?P<left_out><!--.*?-->|<\?.*?\?>)|<!\[CDATA\[(?P<raw>.*?)\]\]>|(?P<text>[^<]+)"""
    r"""|<(?P<end>/?)(?P<name>[^\s/>"'=<!?]+)(?P<rest>(?:[^<>"']|"[^"]*"|'[^']*')*)>""",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s=]+)(\s*=\s*)("[^"]*"|'[^']*')""", re.DOTALL)
_QUOTES = {'"': "&quot;", "'": "&apos;"}
Put = Callable[[str], str]


def markup(text: Masker) -> Masker:
    """XML: texts, CDATA sections and attributes' values; names that look like data as well. Comments and
    processing instructions go; a document type halts.
    """

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        parts: list[str] = []

        def note(part: str) -> str:
            parts.append(part)
            return part

        for value in given:
            _walked(value, note)
        masked = iter(applied(text, parts))
        return series(_walked(value, lambda _: next(masked)) for value in given)

    return over_distinct(mask)


def markup_parts(value: str) -> tuple[list[str], list[str]]:
    """The names of elements and attributes, and the texts."""
    names: list[str] = []
    texts: list[str] = []
    for match in _PIECE.finditer(value):
        if match["name"]:
            names.append(match["name"])
            for name, _, quoted in _ATTRIBUTE.findall(match["rest"]):
                names.append(name)
                texts.append(html.unescape(quoted[1:-1]))
        elif not match["left_out"]:
            texts.append(match["raw"] or html.unescape(match["text"] or ""))
    return names, texts


def _walked(value: str, put: Put) -> str:
    return "".join(_pieces(value, put))


def _pieces(value: str, put: Put) -> Iterator[str]:
    position = 0
    while match := _PIECE.match(value, position):
        position = match.end()
        if match["name"]:
            rest = _ATTRIBUTE.sub(lambda found: _attribute(found, put), match["rest"])
            yield f"<{match['end']}{_name(match['name'], put)}{rest}>"
        elif match["raw"] is not None:
            yield escape(put(match["raw"]))
        elif match["text"]:
            yield escape(put(html.unescape(match["text"])))
    if position != len(value):
        raise UnreadableError("XML with a document type")


def _attribute(match: re.Match[str], put: Put) -> str:
    name = _name(match[1], put)
    value = put(html.unescape(match[3][1:-1]))
    return f'{name}{match[2]}"{escape(value, _QUOTES)}"'


def _name(name: str, put: Put) -> str:
    return ":".join(part if plain(part) else put(part) for part in name.split(":"))
