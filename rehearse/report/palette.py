"""The colours of the picture: few, told apart by colour-blind readers too, and never the only sign of
anything (every bar carries its words).
"""

from __future__ import annotations

from enum import Enum

INK = "#1B2733"
MUTED = "#5F6B7A"
FAINT = "#B9C2CC"
HAIRLINE = "#DDE2E8"
GRID = "#EDF0F3"
CARD = "#FFFFFF"
SHADE = "#EEF1F5"

DOT = "#6E93C4"
MEDIAN = "#3B78C2"
TAIL = "#12356B"
STALL = "#D6453D"
STALL_TEXT = "#A8201A"
VICTIM = "#D6453D"
OWN_WAIT = "#12356B"
BYSTANDER = "#8A95A1"

ERRORS = ("#B5382B", "#E09A00", "#8057A5", "#4F7CAC", "#2A8C82")


class Work(Enum):
    """What a statement did to the tables it touched: the word on its bar, and the bar's colour."""

    FAILED = ("failed", INK)
    REWRITE = ("rewrite", "#CC4C02")
    SCAN = ("scan", "#E09A00")
    BUILD = ("index build", "#8057A5")
    CONCURRENT = ("index build", "#A58BC4")
    ROWS = ("rows changed", "#4F7CAC")
    INSTANT = ("instant", "#2A8C82")
    SLOW = ("no rewrite or scan", "#4B7F86")
    UNKNOWN = ("effects not measured", "#8A95A1")
    NOT_RUN = ("not run", "#B9C2CC")

    @property
    def word(self) -> str:
        """What to call it."""
        return self.value[0]

    @property
    def colour(self) -> str:
        """Its colour, `#RRGGBB`."""
        return self.value[1]
