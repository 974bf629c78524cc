"""Liu, Zhong and Tegmark, "Grokking as Compression: A Nonlinear Complexity Perspective" (arXiv:2310.05918).

`mappings` measures how many linear maps a network is; `model` trains the networks that grok and applies the measures; `xor`
reads the record of the paper's own run on exclusive or.
"""

from .mappings import Pieces, linearity, linearity_plain, lmn, matrix, nonlinearity
from .model import (
    SHARE,
    History,
    Setting,
    answers,
    follow,
    grok,
    mapping_matrix,
    measures,
    phase,
    points,
    split,
    straight_answers,
    subset,
    tail,
)
from .xor import pattern_distances, recorded, turning_points

__all__ = [
    "SHARE",
    "History",
    "Pieces",
    "Setting",
    "answers",
    "follow",
    "grok",
    "linearity",
    "linearity_plain",
    "lmn",
    "mapping_matrix",
    "matrix",
    "measures",
    "nonlinearity",
    "pattern_distances",
    "phase",
    "points",
    "recorded",
    "split",
    "straight_answers",
    "subset",
    "tail",
    "turning_points",
]
