"""What personal data look like: patterns with their checksums, and how our own masks are told from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rehearse.dataset.masking.words import RESERVED_DOMAINS

# a match begins where a run of letters does, or the time is the square of the run's length
_EMAIL = re.compile(r"(?<![\w.+%'-])[\w.+%'-]+@((?:[\w-]+\.)+[A-Za-z]{2,})")
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?![A-Za-z0-9])"
)
_CARD = re.compile(r"(?<![\w.-])((?:\d{4}[ -]){3}\d{4}|3[47]\d{2}[ -]\d{6}[ -]\d{5}|\d{15,16})(?![\w-]|\.\d)")
_SSN = re.compile(r"(?<![\w-])(\d{3})-(\d{2})-(\d{4})(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w.+-])(\+\d[\d ().-]{7,18}\d|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-. ]\d{3}[-. ]\d{4})(?![\w-]|\.\d)"
)
_BRANDS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|4|5)")

# What the columns are sifted by first: rows without any of these cannot match a pattern.
SIFT = (
    r"@[\w-]+\.|[A-Z]{2}\d{2} ?[A-Z0-9]{4}|\d{15}|(\d{4}[ -]){3}\d{4}|\d{4}[ -]\d{6}|\d{3}-\d{2}-\d{4}"
    r"|\+\d[\d ().-]{7}|\(\d{3}\) ?\d{3}|\d{3}[-. ]\d{3}[-. ]\d{4}"
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`find` gives the stretches that look like it, `real` says whether one may be somebody's."""

    name: str
    expression: re.Pattern[str]
    real: Callable[[re.Match[str]], bool]


def luhn(digits: str) -> bool:
    """The checksum of payment cards."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def iban(text: str) -> bool:
    """The checksum of bank account numbers (ISO 7064, modulo 97)."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def phone_check(digits: str) -> str:
    """The two digits at the end of a masked phone number, from those before them: a real number has them
    once in a hundred times, a masked one always.
    """
    total = sum(int(digit) * (7 if place % 2 else 3) for place, digit in enumerate(digits))
    return f"{(total + 11 * len(digits)) % 100:02d}"


def _is_real_email(match: re.Match[str]) -> bool:
    domain, mailbox = match[1].lower(), match[0].partition("@")[0]
    return any(char.isalnum() for char in mailbox) and not any(
        domain == ours or domain.endswith("." + ours) for ours in RESERVED_DOMAINS
    )


def _is_real_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[1])
    return bool(_BRANDS.match(digits)) and luhn(digits)


def _is_real_iban(match: re.Match[str]) -> bool:
    text = match[1].replace(" ", "")
    return 15 <= len(text) <= 34 and iban(text)


def _is_real_ssn(match: re.Match[str]) -> bool:
    area, group, serial = match.groups()
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _is_real_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[1])
    return 9 <= len(digits) <= 15 and phone_check(digits[:-2]) != digits[-2:]


PATTERNS = (
    Pattern("e-mail address", _EMAIL, _is_real_email),
    Pattern("bank account (IBAN)", _IBAN, _is_real_iban),
    Pattern("payment card", _CARD, _is_real_card),
    Pattern("social security number", _SSN, _is_real_ssn),
    Pattern("phone number", _PHONE, _is_real_phone),
)


def found(text: str) -> Iterator[str]:
    """The names of the patterns that `text` has a real-looking stretch of."""
    for pattern in PATTERNS:
        if any(pattern.real(match) for match in pattern.expression.finditer(text)):
            yield pattern.name


def defused(text: str, *, injective: bool = False) -> str:
    """`text`, out of a mask that keeps formats, with what came out valid by chance made invalid. Its length
    stays. `injective`: two different texts may not meet, so no digit is thrown away.
    """
    for pattern in PATTERNS:
        text = pattern.expression.sub(partial(_spoiled, pattern=pattern, injective=injective), text)
    return text


def _spoiled(match: re.Match[str], pattern: Pattern, *, injective: bool) -> str:
    text = match[0]
    if not pattern.real(match):
        return text
    if pattern.name == "e-mail address":
        return text.replace("@", "#")
    if pattern.name in {"phone number", "social security number"}:
        if injective:
            return _lettered(text)
        return checked_phone(text) if pattern.name == "phone number" else "9" + text[1:]
    last = re.search(r"\d(?=\D*\Z)", text)
    assert last is not None
    return text[: last.start()] + str((int(last[0]) + 1) % 10) + text[last.end() :]


def _lettered(text: str) -> str:
    """The first and the last digit as letters: nothing is lost, and it is no number any more."""
    chars = list(text)
    places = [place for place, char in enumerate(text) if char.isdigit()]
    for place in (places[0], places[-1]):
        chars[place] = "ABCDEFGHIJ"[int(chars[place])]
    return "".join(chars)


def checked_phone(text: str) -> str:
    """A phone number with its last two digits made check digits; the format stays."""
    places = [place for place, char in enumerate(text) if char.isdigit() and char.isascii()]
    if len(places) < 3:
        return text
    chars = list(text)
    check = phone_check("".join(chars[place] for place in places[:-2]))
    chars[places[-2]], chars[places[-1]] = check[0], check[1]
    return "".join(chars)
