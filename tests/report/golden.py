"""Golden files: compared, and rewritten only when asked (`REWRITE_GOLDENS=1`)."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Fail with a diff where `text` is not what `golden/name` holds."""
    path = _FOLDER / name
    if os.environ.get("REWRITE_GOLDENS") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(expected.splitlines(), text.splitlines(), name, "now", lineterm=""))
    assert text == expected, f"{diff}\n\nREWRITE_GOLDENS=1 accepts the change"
