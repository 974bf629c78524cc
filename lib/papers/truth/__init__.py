"""Marks and Tegmark, "The Geometry of Truth" (arXiv:2310.06824): truth as a direction in a language model's states.

`world` makes statements and documents, `llama` the toy that learns from them, `language` reads and steers any causal
language model, `probes` and `measure` look for truth inside it.
"""

from . import probes, world
from .language import Language, check_model, load, toys
from .llama import Trained, stored, teach
from .measure import (
    FITS,
    TRAININGS,
    accuracies,
    along_first,
    causal_blocks,
    cosine,
    direction,
    equal,
    likely,
    next_words,
    patch,
    principal,
    published,
    randoms,
    steer,
    survey,
    truth_and_polarity,
)

__all__ = [
    "FITS",
    "TRAININGS",
    "Language",
    "Trained",
    "accuracies",
    "along_first",
    "causal_blocks",
    "check_model",
    "cosine",
    "direction",
    "equal",
    "likely",
    "load",
    "next_words",
    "patch",
    "principal",
    "probes",
    "published",
    "randoms",
    "steer",
    "stored",
    "survey",
    "teach",
    "toys",
    "truth_and_polarity",
    "world",
]
