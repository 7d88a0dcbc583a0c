"""Files that nobody but a server's user may see."""

from __future__ import annotations

import os
from pathlib import Path

from rehearse.provision.guarded import Account


def own_directory(path: Path, account: Account | None) -> None:
    """A new directory for `account` alone (None: for us)."""
    path.mkdir(mode=0o700)
    path.chmod(0o700)
    give(path, account)


def own_file(path: Path, text: str, account: Account | None) -> None:
    """A file of one text for `account` alone; replaces an earlier one."""
    path.touch(mode=0o600)
    path.write_text(text + "\n", encoding="utf-8")
    give(path, account)


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def text_of(path: Path) -> str:
    """What stands in a file; nothing if it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
