"""A defect of ours is not a verdict: Python's own exit code for it, 1, would read as NO-GO."""

from __future__ import annotations

import sys

import pytest

from rehearse.cli import main as cli


def test_a_defect_ends_with_the_code_of_a_failed_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(sys, "argv", ["rehearse"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert capsys.readouterr().err.splitlines()[-1] == "rehearse: a defect of Rehearse itself: LookupError"
