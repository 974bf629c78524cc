"""What a page shows: claims, explorables, figures, progress, and the front page drawn from executed chapters."""

from .claims import Claims
from .explore import explore
from .figures import BLUE, GREEN, GREY, INK, OCHRE, PALETTE, PINK, RED, figure, show
from .front import failures, gallery, scoreboard
from .parameters import parameters
from .progress import progress
from .texts import between, each, interval

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "OCHRE",
    "PALETTE",
    "PINK",
    "RED",
    "Claims",
    "between",
    "each",
    "explore",
    "failures",
    "figure",
    "gallery",
    "interval",
    "parameters",
    "progress",
    "scoreboard",
    "show",
]
