"""COPY's text format, a block of whole rows at a time, as columns and back.

A field that is kept is never decoded: it goes out byte for byte as it came in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from _typeshed import ReadableBuffer

NULL = "\\N"
_BATCH_ROWS = 8192  # a fifth less time than with as few as the writer takes by itself
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


def read_block(block: bytes, columns: Sequence[str], integers: Collection[str] = frozenset()) -> pl.DataFrame:
    """A frame of strings as they stand in the block (still escaped); NULL is null. `integers` come as 64-bit
    numbers where they all are. Raises ValueError for bytes that are no UTF-8 or rows of another width.
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
            schema={name: pl.Int64 if name in integers else pl.String for name in columns},
        )
    except pl.exceptions.PolarsError:
        if integers:
            return read_block(block, columns)
        # its message quotes the row
        raise ValueError("rows that are not UTF-8, or of another width than their COPY says") from None


def write_block(frame: pl.DataFrame) -> bytes:
    """The rows of a frame of escaped strings and of integers as COPY reads them."""
    if frame.width == 1:
        import polars as pl  # noqa: PLC0415 - the command line must start without it

        values = frame.to_series().cast(pl.String).fill_null(NULL).to_list()
        return "".join(f"{value}\n" for value in values).encode()
    text = _Pieces()
    frame.write_csv(
        text,
        include_header=False,
        separator="\t",
        quote_style="never",
        null_value=NULL,
        batch_size=_BATCH_ROWS,
    )
    return b"".join(text.pieces)


class _Pieces(BytesIO):
    """What is written, as it comes: to grow one buffer takes longer than to join these."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, piece: ReadableBuffer, /) -> int:
        self.pieces.append(bytes(piece))
        return len(self.pieces[-1])


def has_escapes(block: bytes) -> bool:
    """Whether any field has to be decoded: whether there is a backslash that is no NULL's."""
    if b"\\" not in block:
        return False
    read = np.frombuffer(block, dtype=np.uint8)
    return bool((read[np.flatnonzero(read[:-1] == ord("\\")) + 1] != ord("N")).any())


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
