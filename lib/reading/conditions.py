"""The book's table of conditions: what must be true of a measurement for a sentence to hold.

A condition follows from the sentence, never from a run: no number below comes from a measurement, and a chapter chooses a
line of the table, not a bound. `argued` is for a sentence that no line covers; its reason is printed with it.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 0.15  # relative for numbers, absolute for exponents, slopes, shares and correlations
NEARLY = 0.9


@dataclass(frozen=True)
class Condition:
    """What a claim must show.

    Attributes:
        text: the condition in symbols; {0}, {1} stand for the names of the quantities it is about.
        test: a function of those quantities, tensors (resamples,) or (resamples, K), giving bools of that shape.
        quantities: how many it takes; None for any number.
        because: why it is the right one, where it is not a line of the table.
        every_unit: whether it speaks of all units looked at, so that one exception refutes it.
    """

    text: str
    test: Callable[..., Tensor]
    quantities: int | None = 1
    because: str = ""
    every_unit: bool = False


def slope(*a: float) -> Condition:
    """For "an exponent or slope is a"; several `a` are compared along the second axis of the value."""
    listed = ", ".join(f"{one:g}" for one in a)
    return Condition(f"{{0}} within {TOLERANCE} of {listed}", lambda v: (v - v.new_tensor(a)).abs() <= TOLERANCE)


def near(x: float) -> Condition:
    """For "a number is x"."""
    return Condition(f"{{0}} within {TOLERANCE:.0%} of {x:g}", lambda v: (v - x).abs() <= TOLERANCE * abs(x))


def more(than: float | None = None) -> Condition:
    """For "more", "later", "grows": the first quantity exceeds the second, or one exceeds a number in the sentence."""
    if than is None:
        return Condition("{0} > {1}", lambda a, b: a > b, 2)
    return Condition(f"{{0}} > {than:g}", lambda a: a > than)


def less(than: float | None = None) -> Condition:
    """For "less", "earlier", "falls"."""
    if than is None:
        return Condition("{0} < {1}", lambda a, b: a < b, 2)
    return Condition(f"{{0}} < {than:g}", lambda a: a < than)


def same(*, absolute: bool = False) -> Condition:
    """For "the same", "independent of": all values of all quantities; `absolute` for shares, correlations and exponents."""

    def test(*quantities):
        values = torch.cat([q.reshape(len(q), -1) for q in quantities], 1)
        spread = values.amax(1) - values.amin(1)
        return spread <= (TOLERANCE if absolute else TOLERANCE * values.mean(1).abs())

    bound = f"{TOLERANCE}" if absolute else f"{TOLERANCE:.0%} of their mean"
    return Condition(f"largest − smallest of {{all}} ≤ {bound}", test, None)


def most() -> Condition:
    """For "most", of a share."""
    return Condition("{0} > 1/2", lambda v: v > 0.5)


def nearly_all() -> Condition:
    """For "nearly all", of a share."""
    return Condition(f"{{0}} ≥ {NEARLY}", lambda v: v >= NEARLY)


def every() -> Condition:
    """For "all", of a share."""
    return Condition("{0} = 1", lambda v: v == 1, every_unit=True)


def none() -> Condition:
    """For "none", of a share."""
    return Condition("{0} = 0", lambda v: v == 0, every_unit=True)


def linear() -> Condition:
    """For "linear in": takes the two errors of `left_out`, of the straight line and of the monotone curve."""
    return Condition(f"{{0}} ≤ {1 + TOLERANCE} × {{1}}", lambda line, curve: line <= (1 + TOLERANCE) * curve, 2)


def explains() -> Condition:
    """For "x explains y": takes the share of variance (or of bits) that x explains, and the share that its rival does."""
    return Condition("{0} > 1/2 and {0} > {1}", lambda share, rival: (share > 0.5) & (share > rival), 2)


def argued(text: str, *, because: str, names: str) -> Condition:
    """A condition that the table does not have: an expression in the `names` of its quantities, with & and | for and, or.

    Raises:
        ValueError: if the reason is missing or the expression is none.
    """
    if len(because) < 20:
        raise ValueError(f"because = {because!r}: expected a sentence that says why the table's lines do not fit")
    try:
        code = compile(text, "condition", "eval")
    except SyntaxError as fault:
        raise ValueError(f"text = {text!r}: expected an expression in {names} ({fault.msg})") from None
    bound = names.split()
    return Condition(
        text.replace("{", "{{").replace("}", "}}"),
        lambda *values: eval(code, {"__builtins__": {}}, dict(zip(bound, values, strict=True))),  # the chapter's own text
        len(bound),
        because,
    )


TABLE = (
    ("an exponent or slope is a", "slope", f"the estimate lies within {TOLERANCE} of a"),
    ("a number is x", "near", f"within {TOLERANCE:.0%}"),
    ("more, less, earlier, falls, grows", "more, less", "the difference has that sign"),
    ("the same, independent of", "same", f"within {TOLERANCE:.0%} ({TOLERANCE} for shares, correlations, exponents)"),
    ("most; nearly all; all; none", "most, nearly_all, every, none", f"> 1/2; ≥ {NEARLY}; = 1; = 0"),
    (
        "linear in",
        "linear",
        f"a straight line predicts left-out points as well as the best monotone curve, within {TOLERANCE:.0%}",
    ),
    ("x explains y", "explains", "the share of variance (or bits) explained is > 1/2 and larger than the obvious rival's"),
    ("anything else", "argued", "argued for in the chapter, before the measurement"),
)


def table() -> str:
    """The table of conditions as HTML."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(sentence)}</th><td><code>{name}</code></td><td>{html.escape(condition)}</td></tr>'
        for sentence, name, condition in TABLE
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("the sentence says", "function", "the condition"))
    return f'<div class="claims"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def left_out(x: Float[Tensor, " points"], y: Float[Tensor, "resamples points"]) -> dict[str, Float[Tensor, " resamples"]]:
    """Root mean square errors at left-out points, of a straight line and of the best monotone curve: for `linear`.

    Each point but the two outermost is left out in turn; both are fitted by least squares to the others. The monotone curve
    (isotonic regression, rising or falling, whichever fits the others better) is read by linear interpolation.

    Raises:
        ValueError: for fewer than four different x.
    """
    from scipy.optimize import isotonic_regression  # a second of import, for few chapters

    order = np.argsort(np.asarray(x, dtype=float), kind="stable")
    x, ys = np.asarray(x, dtype=float)[order], np.asarray(y, dtype=float)[:, order]  # type: ignore[assignment]
    if len(np.unique(x)) < 4:
        raise ValueError(f"x = {x.tolist()}: expected at least four different values")
    inner = range(1, len(x) - 1)
    line, curve = np.empty((len(ys), len(inner))), np.empty((len(ys), len(inner)))
    for column, k in enumerate(inner):
        kept = np.arange(len(x)) != k
        weights = np.linalg.pinv(np.stack([x[kept], np.ones(kept.sum())], 1)).T @ np.array([x[k], 1.0])
        line[:, column] = ys[:, kept] @ weights - ys[:, k]
        for row, values in enumerate(ys):
            fits = [isotonic_regression(values[kept], increasing=up).x for up in (True, False)]
            best = min(fits, key=lambda fit: np.square(fit - values[kept]).sum())
            curve[row, column] = np.interp(x[k], x[kept], best) - values[k]
    return {name: torch.from_numpy(np.sqrt(np.square(e).mean(1))) for name, e in (("line", line), ("curve", curve))}
