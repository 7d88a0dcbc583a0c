"""Words that mean something: pools drawn once from Faker, and which column wants which by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faker import Faker

DEFAULT_LOCALE = "en_US"
_POOL = 1000
_DRAWS = 2 * _POOL  # duplicates are dropped: a few words more make up for them


@dataclass(frozen=True, slots=True)
class Pool:
    """Distinct texts `heads[i] + tails[i]`; head + joint + running number + tail makes one unique."""

    heads: tuple[str, ...]
    tails: tuple[str, ...]
    joint: str

    @property
    def texts(self) -> list[str]:
        """The words as they are without a number."""
        return [head + tail for head, tail in zip(self.heads, self.tails, strict=True)]


@dataclass(frozen=True, slots=True)
class _Kind:
    draw: Callable[[Faker], str]
    joint: str = "-"
    split: str = ""  # where the tail begins


def _local_email(faker: Faker) -> str:
    # domains reserved for examples: mail to them reaches nobody
    written = f"{faker.first_name()}.{faker.last_name()}@{faker.safe_domain_name()}".lower().replace(" ", "")
    # a name in another script has no form in an address: Faker's own users have one
    return written if written.isascii() else f"{faker.user_name()}@{faker.safe_domain_name()}".lower()


def _phone(faker: Faker) -> str:
    return faker.numerify("+1-%##-%##-####") if _language(faker) == DEFAULT_LOCALE else faker.phone_number()


def _language(faker: Faker) -> str:
    return str(faker.locales[0])


def _prose(faker: Faker) -> str:
    return str(faker.text(max_nb_chars=faker.random_int(30, 120))).replace("\n", " ")


_KINDS: dict[str, _Kind] = {
    "email": _Kind(_local_email, joint=".", split="@"),
    "first_name": _Kind(lambda f: f.first_name(), joint=" "),
    "last_name": _Kind(lambda f: f.last_name(), joint=" "),
    "name": _Kind(lambda f: f"{f.first_name()} {f.last_name()}", joint=" "),
    "username": _Kind(lambda f: f.user_name(), joint="_"),
    "phone": _Kind(_phone, joint=" x"),
    "city": _Kind(lambda f: f.city(), joint=" "),
    "state": _Kind(lambda f: f.state(), joint=" "),
    "country": _Kind(lambda f: f.country(), joint=" "),
    "country_code": _Kind(lambda f: f.country_code(), joint=""),
    "currency": _Kind(lambda f: f.currency_code(), joint=""),
    "language": _Kind(lambda f: f.language_code(), joint="-"),
    "street": _Kind(lambda f: f.street_address().replace("\n", " "), joint=" "),
    "postcode": _Kind(lambda f: f.postcode(), joint="-"),
    "company": _Kind(lambda f: f.company(), joint=" "),
    "job": _Kind(lambda f: f.job(), joint=" "),
    "url": _Kind(lambda f: f"https://{f.safe_domain_name()}/{f.slug()}"),
    "domain": _Kind(lambda f: f"{f.domain_word()}.example.com", split="."),
    "agent": _Kind(lambda f: f.user_agent(), joint=" "),
    "color": _Kind(lambda f: f.safe_color_name(), joint=" "),
    "timezone": _Kind(lambda f: f.timezone()),
    "mime": _Kind(lambda f: f.mime_type()),
    "file": _Kind(lambda f: f.file_name(), joint="-", split="."),
    "status": _Kind(
        lambda f: f.random_element(
            ("new", "active", "pending", "shipped", "completed", "cancelled", "archived")
        )
    ),
    "category": _Kind(
        lambda f: f.random_element(
            ("basic", "standard", "premium", "internal", "external", "trial", "legacy")
        )
    ),
    "slug": _Kind(lambda f: f.slug()),
    "title": _Kind(lambda f: f.sentence(nb_words=4).rstrip("."), joint=" "),
    "word": _Kind(lambda f: f"{f.word()} {f.word()}"),
    "prose": _Kind(_prose, joint=" #"),
}

# The first that matches the column's name wins.
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"e?mail", "email"),
    (r"first_?name|given_?name|forename", "first_name"),
    (r"last_?name|sur_?name|family_?name", "last_name"),
    (r"user_?name|login|nick|handle", "username"),
    (r"file_?name|path$|attachment", "file"),
    (r"phone|mobile|fax|(^|_)tel(_|$)", "phone"),
    (r"city|town", "city"),
    (r"country_?code|nationality|^iso2?$", "country_code"),
    (r"country", "country"),
    (r"currency", "currency"),
    (r"lang|locale", "language"),
    (r"time_?zone|^tz$", "timezone"),
    (r"street|address|^addr|line_?[12]$", "street"),
    (r"zip|post_?code|postal", "postcode"),
    (r"company|organi[sz]ation|employer|vendor|supplier|brand", "company"),
    (r"^job|occupation|position_title", "job"),
    (r"user_?agent|browser", "agent"),
    (r"ur[li]$|ur[li]_|link|website|homepage|avatar|image|photo", "url"),
    (r"domain|host", "domain"),
    (r"colou?r", "color"),
    (r"mime|content_type", "mime"),
    (r"slug|permalink", "slug"),
    (r"status|(^|_)state$|phase|stage", "status"),
    (r"state|province|region", "state"),
    (r"(^|_)(type|kind|category|class|level|tier|plan|role|method|channel|source)$", "category"),
    (r"title|subject|headline|label|caption", "title"),
    (r"comment|descr|note|body|content|text|message|summary|reason|bio|abstract|remark|filler", "prose"),
    (r"full_?name|display_?name|contact|author|owner|customer_?name|(^|_)person", "name"),
    (r"name", "name"),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in _BY_NAME)
_OF_THINGS = re.compile(
    r"product|item|categor|tag|group|team|project|event|table|type|role|plan", re.IGNORECASE
)


def kind_for(column: str, table: str = "") -> str:
    """The vocabulary that suits a text column by its name."""
    for pattern, kind in _COMPILED:
        if pattern.search(column):
            # the "name" of a product is not a person's
            return "word" if kind == "name" and _OF_THINGS.search(f"{table} {column}") else kind
    return "word"


def faker_of(locale: str) -> Faker:
    """A Faker of its own; not seeded."""
    from faker import Faker  # noqa: PLC0415 - a third of a second, and most commands never need it

    return Faker(locale)


@cache
def pool(kind: str, locale: str = DEFAULT_LOCALE) -> Pool:
    """About a thousand distinct texts of a kind; the same ones in every process."""
    faker = faker_of(locale)
    faker.seed_instance(f"rehearse {kind}")
    rule = _KINDS[kind]
    try:
        texts = list(dict.fromkeys(rule.draw(faker) for _ in range(_DRAWS)))[:_POOL]
    except AttributeError:  # the locale has no such words: no states in a country without them
        return pool(kind)
    cut = [text.index(rule.split) if rule.split and rule.split in text else len(text) for text in texts]
    heads = tuple(text[:at] for text, at in zip(texts, cut, strict=True))
    tails = tuple(text[at:] for text, at in zip(texts, cut, strict=True))
    return Pool(heads, tails, rule.joint)
