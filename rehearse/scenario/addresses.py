"""Which database `provision` means, without looking further than its spelling."""

from __future__ import annotations

import re

_DSN = re.compile(r"(postgres|postgresql|mysql|mariadb)://.+", re.DOTALL)
_KEYWORDS = re.compile(r"\s*[a-z_]+\s*=.*", re.DOTALL)
_PREFIXED = re.compile(r"(docker|local):\s*\S.*", re.DOTALL)


def is_dsn(provision: str) -> bool:
    """Whether `provision` is the address of an existing server, and so may hold a password."""
    return bool(_DSN.fullmatch(provision) or _KEYWORDS.fullmatch(provision))


def is_known(provision: str) -> bool:
    """Whether `provision` is of any kind there is: `embedded`, `docker:`, `local:` or a DSN."""
    return provision == "embedded" or bool(_PREFIXED.fullmatch(provision)) or is_dsn(provision)
