"""A rehearsal that is killed by SIGKILL when its record comes to a stage: run as a script by the tests.

Usage: mortal.py STAGE DELAY_S, then the words of the command line. As the record is on disk by then, what
is killed is the run in that stage; DELAY_S lets it get into it (0: at its very beginning), and where the
stage is over sooner, the run is killed at its end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from rehearse.cli.main import main
from rehearse.model.record import RunRecord
from rehearse.record.folder import RunFolder
from rehearse.record.journal import Journal


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(stage: str, delay_s: float) -> None:
    """Make a journal that ends the process."""
    update, begin = Journal.update, Journal.__init__

    def check(journal: Journal) -> None:
        if journal.record.stage.value == stage:
            timer = threading.Timer(delay_s, die)
            timer.daemon = True
            timer.start() if delay_s else die()

    def mortal_update(self: Journal, **changes: Any) -> None:
        if self.record.stage.value == stage and changes.get("stage", self.record.stage) != self.record.stage:
            die()
        update(self, **changes)
        if "stage" in changes:
            check(self)

    def mortal_begin(self: Journal, folder: RunFolder, record: RunRecord) -> None:
        begin(self, folder, record)
        check(self)

    Journal.update = mortal_update  # type: ignore[method-assign]  # to be there at the moment that is wanted
    Journal.__init__ = mortal_begin  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    arrange(sys.argv[1], float(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    main()
