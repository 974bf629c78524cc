"""Marks and Tegmark, "The Geometry of Truth" (arXiv:2310.06824): truth as a direction in a language model's states.

`facts` makes statements and reads other people's, `world` the documents of a small world, `llama` the toy that learns from
them, `language` reads and steers any causal language model, `probes` and `measure` look for truth inside it.
"""

from . import facts, probes, world
from .language import INSTALLED, Language, check_model, installed, load, toys
from .llama import Trained, stored, teach
from .measure import (
    FITS,
    TRAININGS,
    Steering,
    accuracies,
    causal_blocks,
    controls,
    cosine,
    direction,
    effects,
    equal,
    likely,
    next_words,
    patch,
    principal,
    published,
    readings,
    right,
    steer,
    survey,
)

__all__ = [
    "FITS",
    "INSTALLED",
    "TRAININGS",
    "Language",
    "Steering",
    "Trained",
    "accuracies",
    "causal_blocks",
    "check_model",
    "controls",
    "cosine",
    "direction",
    "effects",
    "equal",
    "facts",
    "installed",
    "likely",
    "load",
    "next_words",
    "patch",
    "principal",
    "probes",
    "published",
    "readings",
    "right",
    "steer",
    "stored",
    "survey",
    "teach",
    "toys",
    "world",
]
