"""COPY's text format, a block of whole rows at a time, as columns and back.

A field that is kept is never decoded: it goes out byte for byte as it came in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

NULL = "\\N"
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


def read_block(block: bytes, columns: Sequence[str]) -> pl.DataFrame:
    """A frame of strings as they stand in the block (still escaped); NULL is null. Raises ValueError for
    bytes that are no UTF-8 or rows of another width.
    """
    import polars as pl  # noqa: PLC0415 - the command line must start without it

    if len(columns) == 1:  # a CSV reader takes an empty line for no row
        lines = block.decode().split("\n")
        lines.pop()
        return pl.DataFrame(
            {columns[0]: [None if line == NULL else line for line in lines]}, _strings(columns)
        )
    try:
        return pl.read_csv(
            block,
            has_header=False,
            separator="\t",
            quote_char=None,
            null_values=[NULL],
            empty_string_is_null=False,
            infer_schema=False,
            schema=_strings(columns),
        )
    except pl.exceptions.PolarsError:
        # its message quotes the row
        raise ValueError("rows that are not UTF-8, or of another width than their COPY says") from None


def write_block(frame: pl.DataFrame) -> bytes:
    """The rows of a frame of escaped strings as COPY reads them."""
    if frame.width == 1:
        values = frame.to_series().fill_null(NULL).to_list()
        return "".join(f"{value}\n" for value in values).encode()
    text = BytesIO()
    frame.write_csv(text, include_header=False, separator="\t", quote_style="never", null_value=NULL)
    return text.getvalue()


def has_escapes(block: bytes) -> bool:
    """Whether any field has to be decoded: whether there is a backslash that is no NULL's."""
    return b"\\" in block and block.count(b"\\") > block.count(NULL.encode())


def decoded(series: pl.Series) -> pl.Series:
    """Fields as the values that they spell."""
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    escaped = series.str.contains("\\", literal=True).fill_null(value=False)
    if not escaped.any():
        return series
    plain = [_ESCAPE.sub(_letter, value) for value in series.filter(escaped).to_list()]
    return series.scatter(escaped.arg_true(), pl.Series(plain, dtype=pl.String))


def encoded(series: pl.Series) -> pl.Series:
    """Values as fields that COPY reads."""
    if not series.str.contains(r"[\\\n\r\t]").any():
        return series
    result = series.str.replace_all("\\", "\\\\", literal=True)
    for letter, char in (("n", "\n"), ("r", "\r"), ("t", "\t")):
        result = result.str.replace_all(char, f"\\{letter}", literal=True)
    return result


def _strings(columns: Sequence[str]) -> dict[str, type[pl.String]]:
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    return dict.fromkeys(columns, pl.String)


def _letter(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1 and code[0] == "x":
        return chr(int(code[1:], 16))
    return chr(int(code, 8)) if code.isdigit() else _LETTERS.get(code, code)
