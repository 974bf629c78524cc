"""Casper et al., "Black-Box Access is Insufficient for Rigorous AI Audits" (arXiv:2401.14446).

The paper argues; it has no experiments. Here its arguments meet small models with planted faults: `zoo` trains them,
`handles` say what an auditor may do, `attacks`, `detectors` and `changes` are the audits, `game` is a blind one.
"""

from ...kernels.exponents import slope
from . import attacks, changes, detectors, game, handles, zoo

__all__ = ["attacks", "changes", "detectors", "game", "handles", "slope", "zoo"]
