"""The masks of bytes, bits, and addresses of networks and their devices."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from rehearse.dataset.masking.masks import Masker, over_distinct, partial_of
from rehearse.dataset.masking.prf import Prf
from rehearse.dataset.masking.structured import One, series

if TYPE_CHECKING:
    import polars as pl

_HASHED_BYTES = 8  # from so many on hashes do not meet
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def binary(key: bytes, *, unique: bool = False) -> Masker:
    """As many other bytes; `unique`: no two values may meet."""

    def one(text: str) -> str:
        size = (len(text) - 2) // 2 if text.startswith("\\x") else len(text)
        seed = blake2b(text.encode(), key=key).digest()
        blocks = (
            blake2b(number.to_bytes(8, "little"), key=seed).digest() for number in range(size // 64 + 1)
        )
        return "\\x" + b"".join(blocks)[:size].hex()

    def few(text: str) -> tuple[int, int] | None:
        size = (len(text) - 2) // 2
        short = 0 < size < _HASHED_BYTES and text.startswith("\\x")
        return (int.from_bytes(bytes.fromhex(text[2:])), 256**size) if short else None

    def put(text: str, moved: int) -> str:
        return f"\\x{moved:0{len(text) - 2}x}"

    return _told_apart(Prf(key), few, put, one) if unique else partial_of(one)


def bits(key: bytes, *, unique: bool = False) -> Masker:
    """As many other bits; `unique`: no two values may meet."""

    def one(text: str) -> str:
        drawn = int.from_bytes(blake2b(text.encode(), key=key).digest(), "big")
        return "".join(str(drawn >> place % 512 & 1) for place in range(len(text)))

    def few(text: str) -> tuple[int, int] | None:
        return (int(text, 2), 2 ** len(text)) if 0 < len(text) < 8 * _HASHED_BYTES else None

    def put(text: str, moved: int) -> str:
        return f"{moved:0{len(text)}b}"

    return _told_apart(Prf(key), few, put, one) if unique else partial_of(one)


def addresses(key: bytes, *, unique: bool = False) -> Masker:
    """Network addresses in private ranges, MAC addresses among the locally administered ones. A network
    stays one of its size. `unique`: no two may meet, so that those of which there are few lie anywhere.
    """

    def one(text: str) -> str:
        digest = blake2b(text.encode(), key=key, digest_size=15).digest()
        if text.count(":") in {5, 7} and re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2})+", text):
            return ":".join(["02", *(f"{byte:02x}" for byte in digest[: text.count(":")])])
        plain, slash, width = text.partition("/")
        six = ":" in plain
        number = int.from_bytes((b"\xfd" + digest) if six else b"\x0a" + digest[:3], "big")
        number = number >> (shift := _bits_of_zero(text)) << shift
        address = ipaddress.IPv6Address(number) if six else ipaddress.IPv4Address(number)
        return f"{address}{slash}{width}"

    return _told_apart(Prf(key), _few_addresses, _put_address, one) if unique else partial_of(one)


def _few_addresses(text: str) -> tuple[int, int] | None:
    """A network among those of its width, a host among the hosts of all of these, a MAC address among all:
    as what it is stays, the three do not meet.
    """
    if _MAC.fullmatch(text):
        return int(text.replace(":", ""), 16), 1 << 48
    address, host_bits = _parted(text)
    size = 1 << (address.max_prefixlen - host_bits)
    network, host = divmod(int(address), 1 << host_bits)
    if host:
        hosts = (1 << host_bits) - 1
        network, size = network * hosts + host - 1, size * hosts
    return (network, size) if size < 1 << (8 * _HASHED_BYTES) else None


def _put_address(text: str, moved: int) -> str:
    if _MAC.fullmatch(text):
        return ":".join(re.findall("..", f"{moved:012x}"))
    address, host_bits = _parted(text)
    if int(address) % (1 << host_bits):
        network, host = divmod(moved, (1 << host_bits) - 1)
        number = (network << host_bits) + host + 1
    else:
        number = moved << host_bits
    _, slash, width = text.partition("/")
    return f"{type(address)(number)}{slash}{width}"


def _bits_of_zero(text: str) -> int:
    """How many bits at an address's end are 0 because it is a network's."""
    address, host_bits = _parted(text)
    return 0 if int(address) % (1 << host_bits) else host_bits


def _parted(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """An address, and how many of its bits are those of a host in its network."""
    plain, _, width = text.partition("/")
    address = ipaddress.ip_address(plain)
    return address, address.max_prefixlen - int(width or address.max_prefixlen)


def _told_apart(
    prf: Prf, few: Callable[[str], tuple[int, int] | None], put: Callable[[str, int], str], one: One
) -> Masker:
    """Values of which there are `few`, as a number and how many there are, permuted; hashes of the others."""

    def mask(values: pl.Series) -> pl.Series:
        given = values.to_list()
        small = [(text, found_) for text in given if (found_ := few(text)) is not None]
        moved = prf.permuted(
            np.array([number for _, (number, _) in small], dtype=np.uint64),
            np.array([size for _, (_, size) in small], dtype=np.uint64),
        ).tolist()
        masked = {text: put(text, image) for (text, _), image in zip(small, moved, strict=True)}
        return series(masked[text] if text in masked else one(text) for text in given)

    return over_distinct(mask)
