"""Marks and Tegmark, "The Geometry of Truth" (arXiv:2310.06824): truth as a direction in a language model's states.

`facts` makes statements and reads other people's, `world` the documents of a small world, `llama` the toy that learns from
them, `language` reads and steers any causal language model, `probes` and `measure` look for truth inside it.
"""

from . import facts, probes, world
from .facts import check_even
from .language import INSTALLED, RANDOM, Language, check_model, installed, load, toys
from .llama import Trained, stored, teach
from .measure import (
    FAMILIES,
    FITS,
    FITTED,
    TRAININGS,
    Steering,
    accuracies,
    by_fact,
    by_family,
    causal_blocks,
    controls,
    cosine,
    direction,
    effects,
    equal,
    in_plane,
    likely,
    on_others,
    patch,
    principal,
    published,
    pushes,
    readings,
    right,
    steer,
    survey,
)

__all__ = [
    "FAMILIES",
    "FITS",
    "FITTED",
    "INSTALLED",
    "RANDOM",
    "TRAININGS",
    "Language",
    "Steering",
    "Trained",
    "accuracies",
    "by_fact",
    "by_family",
    "causal_blocks",
    "check_even",
    "check_model",
    "controls",
    "cosine",
    "direction",
    "effects",
    "equal",
    "facts",
    "in_plane",
    "installed",
    "likely",
    "load",
    "on_others",
    "patch",
    "principal",
    "probes",
    "published",
    "pushes",
    "readings",
    "right",
    "steer",
    "stored",
    "survey",
    "teach",
    "toys",
    "world",
]
