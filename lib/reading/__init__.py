"""What a page shows: claims, explorables, figures, progress, and the front page drawn from executed chapters."""

from .claims import Claims
from .explore import explore
from .figures import BLUE, GREEN, GREY, INK, OCHRE, PALETTE, PINK, RED, figure, show
from .front import failures, gallery, scoreboard
from .progress import progress

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
    "explore",
    "failures",
    "figure",
    "gallery",
    "progress",
    "scoreboard",
    "show",
]
