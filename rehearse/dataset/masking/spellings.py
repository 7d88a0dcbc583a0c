"""Texts that are spelled in another way in what was written: base64, hexadecimal digits, percent signs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote

_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){6,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")


def spelled_out(text: str) -> Iterator[str]:
    """What parts of `text` mean if they are encoded; nothing for what makes no sense."""
    if _PERCENT.search(text):
        yield from re.split(r"[&?/#=]", unquote(text.replace("+", " ")))
    for match in _HEX.finditer(text):
        yield from _words(bytes.fromhex(match[0]))
    for match in _BASE64.finditer(text):
        letters = match[0].rstrip("=")
        try:
            raw = base64.b64decode(
                letters + "=" * (-len(letters) % 4), altchars=b"-_" if "/" not in letters else None
            )
        except binascii.Error:
            continue
        yield from _words(raw)


def _words(raw: bytes) -> Iterator[str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    if text.isprintable():
        yield text
