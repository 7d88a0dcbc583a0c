"""Texts: words of Faker's providers, and texts, bytes and documents of a given width."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import polars as pl

from rehearse.dataset.bits import Rows, fractions, key_of, row_numbers
from rehearse.dataset.generators import Places
from rehearse.dataset.values import Template
from rehearse.dataset.vocabulary import faker_of, pool
from rehearse.errors import DatasetError

_DRAWS = 4096  # words drawn from a provider; duplicates count as often as they come
_WIDTHS = 1024  # different texts of a width
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# lengths differ by this standard deviation of their logarithm, where there is room for it
_SIGMA = 0.5
# what stands round the text of a JSON document, and round that of an XML one
_FRAMES = {"json": ('{"text": "', '"}'), "jsonb": ('{"text": "', '"}'), "xml": ("<text>", "</text>")}


@dataclass(frozen=True)
class Words:
    """Words of one of Faker's providers, each as often as the provider says it."""

    provider: str
    locale: str

    @property
    def distinct(self) -> int | None:
        """How many different words were drawn."""
        return len(set(_drawn(self.provider, self.locale)))

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """A word for each place."""
        del rows
        words = _series(self.provider, self.locale)
        return words.gather((places * len(words)).astype(np.uint64))

    def countable(self, max_length: int | None) -> Template | None:
        """The same words with a running number, for a key; None if there is no room for the number."""
        words = tuple(dict.fromkeys(_drawn(self.provider, self.locale)))
        digits = 12
        if max_length is not None:
            digits = min(digits, max_length - max(map(len, words)) - 1)
        if digits < 1:
            return None
        number = (tuple("0123456789"),) * digits
        return Template((words, (" ",), *number), exact=True)


def require_provider(provider: str, locale: str) -> None:
    """DatasetError unless Faker has the provider in this locale; it names the nearest one."""
    names = _providers(locale)
    if provider in names:
        try:
            _drawn(provider, locale)
        except Exception as error:
            # a provider may want arguments, or an optional package
            raise DatasetError(
                f"faker.{provider} gives no words: {type(error).__name__}", "use another provider"
            ) from None
        return
    near = difflib.get_close_matches(provider, names, n=1)
    mend = f"did you mean {near[0]}?" if near else "see Faker's list of providers"
    raise DatasetError(f"Faker has no provider {provider} in the locale {locale}", mend)


def require_locale(locale: str) -> None:
    """DatasetError unless Faker knows the locale; it names the nearest one."""
    from faker.config import AVAILABLE_LOCALES  # noqa: PLC0415 - slow to import, and few commands need it

    known = sorted(AVAILABLE_LOCALES)
    if locale not in known:
        near = difflib.get_close_matches(locale, known, n=1)
        mend = f"did you mean {near[0]}?" if near else "such as en_US, de_DE, ja_JP"
        raise DatasetError(f"[dataset] locale: Faker knows no {locale}", mend)


@cache
def _providers(locale: str) -> tuple[str, ...]:
    """What providers offer; not the methods of Faker itself, which seed and configure it."""
    names = {
        name
        for provider in faker_of(locale).get_providers()
        for name in dir(provider)
        if not name.startswith("_") and callable(getattr(provider, name, None))
    }
    return tuple(sorted(names - {"add_element", "get_words_list"}))


@cache
def _drawn(provider: str, locale: str) -> tuple[str, ...]:
    faker = faker_of(locale)
    faker.seed_instance(f"rehearse {provider} {locale}")
    draw = getattr(faker, provider)
    return tuple(_text(draw()) for _ in range(_DRAWS))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\x00", "")


@cache
def _series(provider: str, locale: str) -> pl.Series:
    # in order, so that values rise with the place
    return pl.Series(sorted(_drawn(provider, locale)), dtype=pl.String)


@dataclass(frozen=True)
class Wide:
    """Texts of `mean` characters on average, none longer than `most`, lognormal between; `type_` is the
    column's base type, in whose form they are written. The shortest come first.
    """

    type_: str
    mean: int
    most: int
    locale: str = "en_US"

    @property
    def distinct(self) -> int | None:
        """How many different texts there are."""
        return _WIDTHS

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The texts at these places."""
        del rows
        return _wide(self).gather((places * _WIDTHS).astype(np.uint64))


@lru_cache(maxsize=64)
def _wide(wide: Wide) -> pl.Series:
    lengths = widths(wide.mean, wide.most, _WIDTHS)
    if wide.type_ == "bytea":
        return pl.Series([_bytes(place, length) for place, length in enumerate(lengths)], dtype=pl.String)
    before, after = _FRAMES.get(wide.type_, ("", ""))
    room = [max(0, length - len(before) - len(after)) for length in lengths]
    prose = " ".join(pool("prose", wide.locale).texts)
    prose = prose.replace("\\", " ").replace('"', "'").replace("<", "(").replace("&", "+")
    texts = [before + _piece(prose, place, length) + after for place, length in enumerate(room)]
    return pl.Series(texts, dtype=pl.String)


def widths(mean: int, most: int, count: int) -> list[int]:
    """`count` rising lengths, `mean` on average, none above `most`."""
    from scipy.special import ndtri  # noqa: PLC0415 - takes a while to import, and few commands need it

    places = (np.arange(count) + 0.5) / count
    if most <= mean:
        return [most] * count
    spread = np.exp(_SIGMA * ndtri(places))
    low, high = 0.0, float(most) * 16
    for _ in range(60):  # the scale at which the cut lengths have the mean that is wanted
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(spread * scale, most).mean() < mean else (low, scale)
    ends = np.floor(np.cumsum(np.minimum(spread * low, most)) + 0.5)
    steps = np.sort(np.diff(ends, prepend=0.0))
    return [min(most, int(length)) for length in steps]


def _piece(prose: str, place: int, length: int) -> str:
    """`length` characters of the prose from somewhere on; neither end is a blank."""
    start = place * 7919 % len(prose)
    repeated = prose[start:] + " " + prose * math.ceil(length / len(prose))
    piece = repeated[:length]
    if piece[:1] == " ":
        piece = "x" + piece[1:]
    return piece[:-1] + "x" if piece[-1:] == " " else piece


def _bytes(place: int, length: int) -> str:
    digits = (fractions(row_numbers(0, 2 * length), key_of("width", place)) * 16).astype(np.intp)
    return "\\x" + _HEX[digits].tobytes().decode()
