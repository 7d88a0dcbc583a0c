"""Regular expressions and LIKE patterns turned round: from a pattern to texts that match it.

A pattern becomes *slots*: places that are filled independently, each from its own list of texts. What
is understood is the common part of the language: literals, classes, groups with alternatives, and
quantifiers; a repetition is made of one fixed length.
"""

from __future__ import annotations

import itertools
import math
import re
import string
from typing import TypeAlias

Slots: TypeAlias = tuple[tuple[str, ...], ...]

_DIGITS = tuple(string.digits)
_WORDS = tuple(string.ascii_lowercase + string.digits)
_ALL = tuple(string.ascii_letters + string.digits + "-_ .@/")
_CLASSES: dict[str, tuple[str, ...]] = {
    "alpha": tuple(string.ascii_letters),
    "digit": _DIGITS,
    "alnum": tuple(string.ascii_letters + string.digits),
    "lower": tuple(string.ascii_lowercase),
    "upper": tuple(string.ascii_uppercase),
    "xdigit": tuple("0123456789abcdef"),
    "space": (" ",),
    "punct": ("-", "_", "."),
    "word": _WORDS,
}
_ESCAPES = {"d": _DIGITS, "w": _WORDS, "s": (" ",), "t": ("\t",), "n": ("\n",)}
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
TYPICAL = 8  # how often something without an upper bound is repeated, at least its lower bound
_MOST_CHOICES = 4096


class PatternError(ValueError):
    """The pattern uses something that this reader does not know."""


def size(slots: Slots) -> int:
    """How many different ways there are to fill the slots."""
    return math.prod(len(slot) for slot in slots)


def longest(slots: Slots) -> int:
    """Characters of the longest filling."""
    return sum(max(map(len, slot)) for slot in slots)


def from_regex(pattern: str, typical: int = TYPICAL) -> Slots:
    """Slots whose every filling matches `pattern`; what may be repeated is repeated `typical` times.

    Raises PatternError.
    """
    reader = _Regex(pattern, typical)
    slots = reader.alternatives()
    if not reader.at_end:
        raise PatternError(pattern)
    return slots


def from_like(pattern: str) -> Slots:
    """Slots whose every filling matches the LIKE pattern; each `%` becomes a few letters."""
    slots: list[tuple[str, ...]] = []
    letters = tuple(string.ascii_lowercase)
    escaped = False
    for character in pattern:
        if escaped or character not in "\\%_":
            slots.append((character,))
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            slots.extend([letters] * (1 if character == "_" else 4))
    return tuple(slots)


class _Regex:
    def __init__(self, pattern: str, typical: int) -> None:
        self._pattern = pattern
        self._typical = typical
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place >= len(self._pattern)

    def _peek(self) -> str:
        return self._pattern[self._place] if not self.at_end else ""

    def _next(self) -> str:
        character = self._peek()
        self._place += 1
        return character

    def alternatives(self) -> Slots:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._next()
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        texts: list[str] = []
        for branch in branches:
            texts.extend(_fillings(branch))
        return (tuple(dict.fromkeys(texts)),)

    def _sequence(self) -> Slots:
        slots: list[tuple[str, ...]] = []
        while not self.at_end and self._peek() not in "|)":
            if self._peek() == "$" and self._pattern[self._place + 1 : self._place + 2] in {"", "|", ")"}:
                self._next()
                continue
            if self._peek() == "^":
                self._next()
                continue
            slots.extend(self._quantified(self._item()))
        return tuple(slots)

    def _item(self) -> Slots:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return (self._class(),)
        if character == ".":
            return (tuple(string.ascii_lowercase),)
        if character == "\\":
            return (self._escape(),)
        if character in "*+?{":
            raise PatternError(self._pattern)
        return ((character,),)

    def _group(self) -> Slots:
        if self._peek() == "?":
            if self._pattern[self._place : self._place + 2] != "?:":
                raise PatternError(self._pattern)
            self._place += 2
        slots = self.alternatives()
        if self._next() != ")":
            raise PatternError(self._pattern)
        return slots

    def _escape(self) -> tuple[str, ...]:
        character = self._next()
        if character in _ESCAPES:
            return _ESCAPES[character]
        if not character or character.isalnum():
            raise PatternError(self._pattern)
        return (character,)

    def _class(self) -> tuple[str, ...]:
        negated = self._peek() == "^"
        if negated:
            self._next()
        members: list[str] = []
        first = True
        while first or self._peek() != "]":
            if self.at_end:
                raise PatternError(self._pattern)
            members.extend(self._class_member())
            first = False
        self._next()
        chosen = [c for c in _ALL if c not in members] if negated else list(dict.fromkeys(members))
        if negated and (plain := [c for c in chosen if c in _WORDS]):
            chosen = plain  # of all that is not excluded, what reads well
        if not chosen:
            raise PatternError(self._pattern)
        return tuple(chosen)

    def _class_member(self) -> tuple[str, ...]:
        named = re.compile(r"\[:(\w+):\]").match(self._pattern, self._place)
        if named and named.group(1) in _CLASSES:
            self._place = named.end()
            return _CLASSES[named.group(1)]
        start = self._next()
        if start == "\\":
            return self._escape()
        if self._peek() == "-" and self._pattern[self._place + 1 : self._place + 2] not in {"", "]"}:
            self._next()
            return tuple(map(chr, range(ord(start), ord(self._next()) + 1)))
        return (start,)

    def _quantified(self, slots: Slots) -> Slots:
        low, high = self._bounds()
        if self._peek() == "?" and (low, high) != (1, 1):
            self._next()  # not greedy: no matter here
        most = self._typical if high is None else min(high, self._typical)
        return slots * max(low, most)

    def _bounds(self) -> tuple[int, int | None]:
        if self._peek() in _REPEATS:
            return _REPEATS[self._next()]
        braces = re.compile(r"\{(\d+)(,(\d*))?\}").match(self._pattern, self._place)
        if braces is None:
            return 1, 1
        self._place = braces.end()
        low = int(braces.group(1))
        if braces.group(2) is None:
            return low, low
        return low, int(braces.group(3)) if braces.group(3) else None


def _fillings(slots: Slots) -> list[str]:
    """All fillings, or the first few thousand."""
    return ["".join(parts) for parts in itertools.islice(itertools.product(*slots), _MOST_CHOICES)]
