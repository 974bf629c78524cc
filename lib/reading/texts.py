"""Numbers as the prose beside a figure says them."""

import numpy as np


def _flat(values):
    return [float(value) for value in np.asarray(values).ravel()]


def each(values, digits=2):
    """Every number (any shape, an array, tensor or list), as text: "0.12, 0.34"."""
    return ", ".join(f"{value:.{digits}f}" for value in _flat(values))


def between(values, digits=2):
    """The range of some numbers (any shape), as text: "0.12 to 0.34"."""
    return f"{min(_flat(values)):.{digits}f} to {max(_flat(values)):.{digits}f}"


def interval(value, low, high, digits=2):
    """A number with its interval, as text: "1.11 [1.04, 1.21]"."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
