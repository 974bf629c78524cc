"""What a page shows: claims and verdicts, explorables, figures, progress, and the pages drawn from executed chapters."""

from . import conditions
from .claims import Claims, ensure, exact, given, implied, ours, paper, sample
from .explore import explore
from .figures import BLUE, GREEN, GREY, INK, OCHRE, PALETTE, PINK, RED, figure, show
from .front import exceptions, gallery, scoreboard
from .live import live
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
    "conditions",
    "each",
    "ensure",
    "exact",
    "exceptions",
    "explore",
    "figure",
    "gallery",
    "given",
    "implied",
    "interval",
    "live",
    "ours",
    "paper",
    "parameters",
    "progress",
    "sample",
    "scoreboard",
    "show",
]
