"""Bad input, refused before any work starts: one function for every plain parameter in the project."""

import difflib
import math
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any


def _fault(value, kind, low, high, above):
    """What is expected of `value`, in words, if it is not that; else None."""
    if isinstance(kind, (set, frozenset)):
        fits = isinstance(value, str) and value in kind
        return None if fits else "one of " + ", ".join(sorted(kind))
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}[kind]
    if kind in (str, bool):
        return None if isinstance(value, kind) else words
    bounds = [f"≥ {low}"] * (low is not None) + [f"> {above}"] * (above is not None) + [f"≤ {high}"] * (high is not None)
    expected = " ".join([words, " and ".join(bounds)]).strip()
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return expected
    inside = (
        math.isfinite(value)
        and (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
    )
    return None if inside else expected


def check(
    name: str,
    value: Any,
    kind: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    least: int = 1,
    rising: bool = False,
) -> None:
    """Raise unless `value` is what `kind` and the bounds say.

    Args:
        name: the parameter's name, as its user wrote it.
        value: what the user gave.
        kind: `int`, `float` (whole numbers pass, NaN and infinity do not), `bool`, `str`, a set of allowed texts,
            or a list holding one of these for a non-empty list of them: `[int]`.
        low, high, above: bounds on numbers, `low` and `high` inclusive, `above` exclusive.
        least: for lists, the least length.
        rising: for lists, whether every value must be larger than the one before.

    Raises:
        ValueError: naming the parameter, its value and what was expected.
    """
    if isinstance(kind, list):
        if not isinstance(value, (list, tuple)) or len(value) < least:
            raise ValueError(f"{name} = {value!r}: expected a list of at least {least} value{'s' * (least > 1)}")
        for i, item in enumerate(value):
            check(f"{name}[{i}]", item, kind[0], low=low, high=high, above=above)
        if rising and any(first >= second for first, second in pairwise(value)):
            raise ValueError(f"{name} = {value!r}: expected rising values")
        return
    expected = _fault(value, kind, low, high, above)
    if expected:
        raise ValueError(f"{name} = {value!r}: expected {expected}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The one of the `known` names that is most like `name`."""
    return difflib.get_close_matches(str(name), sorted(known), 1, 0)[0]
