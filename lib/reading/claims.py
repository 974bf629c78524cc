"""Claims and their verdicts: whose a claim is, what must be true for it to hold, and how sure this build is.

A claim is a sentence that could be false. Its condition follows from the sentence by the table in `conditions`; its verdict
follows from replicates: the condition is evaluated on resamples of the units (the seeds, tasks or games that were drawn at
random). What cannot fail is no claim: `ensure` stops the run if it is false.

The executed notebook is the only record: each verdict carries its claim inside the output of the cell that measured it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import betaincinv, ndtr, stdtrit
from torch import Tensor

from ..checks import check
from .conditions import Condition
from .verdicts import FAILS, HOLDS, MIME, UNDECIDED, UNJUDGED, UNMET, line, plain, table

ORIGINS = ("paper", "implied", "ours")
LEVEL = 0.95  # share of the resamples in which the condition of a claim that holds is true
DRAWS = 1000  # resamples
FEWEST = 5  # units of a random quantity
LARGEST = 1 << 23  # numbers resampled at a time


@dataclass(frozen=True)
class Origin:
    """Whose a claim is: `kind` is one of `ORIGINS`, `source` says where it stands, `value` what the paper gives, as text."""

    kind: str
    source: str
    value: str = "–"


def paper(source: str, value: str = "–") -> Origin:
    """The paper says it: `source` is "abstract", "figure 2", "section 4", or says that this is known at second hand."""
    return Origin("paper", source, value)


def implied(source: str, value: str = "–") -> Origin:
    """We read it out of the paper: `source` says from what."""
    return Origin("implied", source, value)


def ours() -> Origin:
    """The paper does not say it."""
    return Origin("ours", "this book")


@dataclass(frozen=True)
class Sample:
    """Quantities measured on the same units; `units` is None for what is not random.

    Attributes:
        quantities: for each name a tensor whose leading axis is the units, float64 or bool.
        units: their number.
    """

    quantities: dict[str, Tensor]
    units: int | None


def sample(**quantities: object) -> Sample:
    """Quantities measured on the same units (seeds, tasks, games), which are resampled together.

    Args:
        quantities: arrays whose leading axis is the units; an array of bools says yes or no of each unit.

    Raises:
        ValueError: if there is none, one is empty, or their numbers of units differ.
    """
    tensors = {name: _tensor(values) for name, values in quantities.items()}
    counts = {name: len(t) if t.dim() else 0 for name, t in tensors.items()}
    if not counts or len(set(counts.values())) > 1 or 0 in counts.values():
        raise ValueError(f"quantities = units {counts}: expected arrays with the same number of units, at least one")
    return Sample(tensors, next(iter(counts.values())))


def exact(**quantities: object) -> Sample:
    """Quantities that no draw enters (a count over a complete list, a solution of an equation): nothing is resampled."""
    if not quantities:
        raise ValueError("quantities = {}: expected at least one")
    return Sample({name: _tensor(values) for name, values in quantities.items()}, None)


def _tensor(values):
    tensor = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values)).detach().cpu()
    return tensor if tensor.dtype == torch.bool else tensor.double()


def ensure(says: str, true: object, here: object = "") -> None:
    """A check, not a claim: an identity, a theorem, bookkeeping. It has no verdict, and stops the run if it is violated.

    Raises:
        RuntimeError: saying what is violated, and what was found instead.
    """
    if not bool(true):
        raise RuntimeError(f"violated: {says}" + (f" (found {here})" if here != "" else ""))


@dataclass(frozen=True)
class Premise:
    """What must be the case for a claim to be tested at all, made by `given`; its fields are those of `Claims.judge`."""

    says: str
    condition: Condition
    samples: tuple[Sample, ...]
    value: Callable | None


def given(says: str, condition: Condition, *samples: Sample, value: Callable | None = None) -> Premise:
    """A premise, of a claim that is about converged, unsaturated or error-free networks: "the loss has settled"."""
    return Premise(says, condition, samples, value)


def required(units: int | None) -> float:
    """Share of the resamples that a verdict needs: 0.95 for many units, more for few.

    A bootstrap of n units is too narrow: its variance lacks a factor n/(n - 1), and its tails are the normal's where
    Student's are right. With both put right a one-sided 95 % needs Φ(t₀.₉₅(n - 1) √(n/(n - 1))) of the resamples:
    0.991 for five units, 0.973 for ten, 0.957 for 32 (Hesterberg 2015, "What teachers should know about the bootstrap").
    """
    if units is None or units < 2:
        return LEVEL
    return float(ndtr(stdtrit(units - 1, LEVEL) * (units / (units - 1)) ** 0.5))


def _resampled(samples, draws):
    """All quantities by name, (rows, units, …), a chunk of rows after the other: first as measured, then `draws` resamples.

    Units are put in order first, so that the order in which they were given does not matter; what is not random has none.
    """
    picks = []
    for place, one in enumerate(samples):
        if one.units is None:
            picks.append(None)
            continue
        keys = torch.cat([t.double().reshape(one.units, -1) for t in one.quantities.values()], 1).tolist()
        order = torch.tensor(sorted(range(one.units), key=keys.__getitem__))
        drawn = torch.randint(one.units, (draws, one.units), generator=torch.Generator().manual_seed(place))
        picks.append(order[torch.cat([torch.arange(one.units)[None], drawn])])
    size = sum(t.numel() for one in samples for t in one.quantities.values())
    most = max(1, LARGEST // max(1, size))  # a selection that nothing meets is empty: its mean is not a number
    for at in range(0, 1 + draws, most):
        rows, chunk = min(most, 1 + draws - at), {}
        for one, chosen in zip(samples, picks, strict=True):
            for name, t in one.quantities.items():
                chunk[name] = t.expand(rows, *t.shape) if chosen is None else t[chosen[at : at + rows]]
        yield chunk


def _measured(samples, value, draws):
    """What the condition is about, by name: (rows,) or (rows, K), the first row as measured; an empty axis is no number."""
    random = {name for one in samples if one.units is not None for name in one.quantities}

    def means(**quantities):
        return {name: t.double().mean(1) if name in random else t.double() for name, t in quantities.items()}

    parts = [(value or means)(**chunk) for chunk in _resampled(samples, draws)]
    parts = [part if isinstance(part, dict) else {"value": part} for part in parts]
    for name, t in parts[0].items():
        if not isinstance(t, Tensor) or t.dim() not in (1, 2):
            raise ValueError(f"value = {name}: expected a tensor (resamples,) or (resamples, K), got {t!r:.60}")
    found = {name: torch.cat([torch.as_tensor(part[name]).double() for part in parts]) for name in parts[0]}
    for name, t in found.items():
        if len(t) != 1 + draws:
            raise ValueError(f"value = {name} of shape {tuple(t.shape)}: expected a row for each of {1 + draws} resamples")
    return {name: t if t.numel() else torch.full((len(t), 1), torch.nan) for name, t in found.items()}


def _fares(condition, found):
    """In which rows the condition is true, in which false, bool (2, rows): neither, where something is not a number."""
    true = condition.test(*found.values())
    known = torch.stack([~torch.isnan(t.reshape(len(t), -1)).any(1) for t in found.values()]).all(0)
    true = true.reshape(len(true), -1).all(1)
    return torch.stack([true & known, ~true & known])


def _binomial(yes, units):
    """Shares that `yes` of `units` leave possible, (2, DRAWS): seen from below and from above (Clopper and Pearson 1934).

    Where a unit itself says yes or no, five of five is not certainty, and no resample would say so.
    """
    grid = (np.arange(DRAWS) + 0.5) / DRAWS
    below = betaincinv(yes, units - yes + 1, grid) if yes else np.zeros(DRAWS)
    above = betaincinv(yes + 1, units - yes, grid) if yes < units else np.ones(DRAWS)
    return torch.from_numpy(np.stack([below, above]))


@dataclass(frozen=True)
class _Evidence:
    """How a condition fared; `values`, `low` and `high` are by quantity, (1,) or (K,)."""

    condition: str
    values: dict[str, Tensor]
    low: dict[str, Tensor]
    high: dict[str, Tensor]
    units: str
    share: float
    verdict: str

    def here(self, form):
        """What was measured, in words, with its doubt."""
        spoken = [
            ("" if name == "value" else name.replace("_", " ") + " ")
            + _spoken(v, self.low.get(name), self.high.get(name), form)
            for name, v in self.values.items()
        ]
        return "; ".join(spoken)


def _plain_numbers(values):
    """Numbers (K,) as JSON has them: None for what is none."""
    return [None if v != v else v for v in values.tolist()]


def _spoken(value, low, high, form):
    """Numbers (K,) with their interval, if they have one, in words."""
    listed = ", ".join(format(v, form) for v in value.tolist())
    words = listed if len(value) <= 4 else f"{value.min():{form}} to {value.max():{form}}"
    return words if low is None else f"{words} [{low.min():{form}}, {high.max():{form}}]"


def _judged(condition, samples, value):
    """The `_Evidence` for a condition on the quantities that `value` makes of the samples."""
    names = [name for one in samples for name in one.quantities]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"samples = quantities {names}: expected at least one, each name once")
    counts = sorted({one.units for one in samples if one.units is not None})
    found = _measured(samples, value, DRAWS if counts else 0)
    if condition.quantities not in (None, len(found)):
        raise ValueError(f"value = quantities {list(found)}: expected {condition.quantities} for {condition.text!r}")
    fares, level, low, high = _fares(condition, found), LEVEL, {}, {}
    share, against = fares[:, 0].double().tolist()
    if counts and value is None and len(names) == 1 and samples[0].quantities[names[0]].dtype == torch.bool:
        below, above = _binomial(int(samples[0].quantities[names[0]].sum()), counts[0])
        low, high = {names[0]: below.quantile(1 - LEVEL)[None]}, {names[0]: above.quantile(LEVEL)[None]}
        fares = torch.stack([_fares(condition, {names[0]: below})[0], _fares(condition, {names[0]: above})[1]])
    elif counts:
        level = required(counts[0])
        low = {name: t[1:].nanquantile(1 - level, 0).reshape(-1) for name, t in found.items()}
        high = {name: t[1:].nanquantile(level, 0).reshape(-1) for name, t in found.items()}
        fares = fares[:, 1:]
    if counts and not condition.every_unit:
        share, against = fares.double().mean(1).tolist()
    verdict = HOLDS if share >= level else FAILS if against >= level else UNDECIDED
    if any(bool(torch.isnan(t[0]).any()) for t in found.values()):
        verdict = UNMET
    labels = [name.replace("_", " ") for name in found]
    words = condition.text if condition.because else condition.text.format(*labels, all=", ".join(labels))
    words += f" ({condition.because})" if condition.because else ""
    units = f"{' to '.join(map(str, counts))} units" if counts else "not random"
    return _Evidence(words, {name: t[0].reshape(-1) for name, t in found.items()}, low, high, units, share, verdict)


class Verdict:
    """One claim with its verdict: the last expression of the cell that measured it."""

    def __init__(self, row):
        """`row` has the keys of `COLUMNS`."""
        self.row = row

    def _repr_mimebundle_(self, **kwargs):
        row = self.row
        return {
            "text/html": line(row),
            MIME: [row],
            "text/plain": plain(row),
        }


class Claims:
    """The claims of one chapter, in the order they are judged; shown at the end of the chapter they sum up."""

    def __init__(self, chapter: str, scale: str, seed: int = 0):
        """`chapter` is the slug; at `scale` smoke nothing is judged, at book and paper everything; `seed` goes on record."""
        self.chapter, self.scale, self.seed = chapter, scale, seed
        self._rows: dict[str, dict] = {}

    @property
    def rows(self) -> list[dict]:
        """The records, in the order of judging."""
        return list(self._rows.values())

    def judge(
        self, name: str, says: str, origin: Origin, condition: Condition, *samples: Sample,
        value: Callable | None = None, premise: Premise | tuple[Premise, ...] = (), form: str = ".3g",
    ) -> Verdict:  # fmt: skip
        """Judge a claim: evaluate its condition on resamples of the units, and say how sure that is.

        *Holds* if the condition is true in at least 95 % of the resamples (more with few units, see `required`), *does not
        hold* if it is false in as many, *undecided* between. If a premise does not hold, or a quantity cannot be measured
        (is NaN, or its second axis is empty), the verdict is *conditions not met*.

        Args:
            name: short name, unique in the chapter; the claim's id is `chapter/name`. Judging it again replaces it.
            says: the claim, a sentence.
            origin: `paper(…)`, `implied(…)` or `ours()`.
            condition: a line of the table, from `conditions`.
            samples: what was measured, from `sample` or `exact`: the quantities of one sample are resampled together, those
                of different samples apart.
            value: function of all resampled quantities, by name, each (resamples, units, …), float64 or bool, giving what
                the condition is about: a tensor (resamples,), or a dict of them in the condition's order; with a second
                axis the condition must be true all along it. It works on all resamples at once, without a loop. By
                default each quantity's mean over its units.
            premise: one `given(…)`, or a tuple of them.
            form: how numbers are printed.

        Returns:
            A `Verdict`, which shows itself.

        Raises:
            ValueError: for a bad argument, or fewer than five units of a random quantity where claims are judged.
        """
        check("name", name, str)
        premises = premise if isinstance(premise, tuple) else (premise,)
        if not says.endswith("."):
            raise ValueError(f"says = {says!r}: expected a sentence that ends with a full stop")
        if not isinstance(origin, Origin) or not isinstance(condition, Condition):
            raise ValueError(
                f"{name}: expected an origin (paper, implied, ours) and a condition, got {origin!r}, {condition!r}"
            )
        for one in (*samples, *(part for p in premises for part in p.samples)):
            if not isinstance(one, Sample):
                raise ValueError(f"samples = {one!r} in {name}: expected sample(…) or exact(…)")
            if self.scale != "smoke" and one.units is not None and one.units < FEWEST:
                raise ValueError(f"units = {one.units} in {name}: expected at least {FEWEST} of a random quantity")
        evidence = _judged(condition, samples, value)
        grounds = [(p.says, _judged(p.condition, p.samples, p.value)) for p in premises]
        met = all(e.verdict == HOLDS for _, e in grounds)
        self._rows[name] = {
            "id": f"{self.chapter}/{name}",
            "says": says,
            "origin": origin.kind,
            "source": origin.source,
            "paper": origin.value,
            "here": evidence.here(form),
            **{key: {n: _plain_numbers(t) for n, t in getattr(evidence, key).items()} for key in ("values", "low", "high")},
            "units": evidence.units,
            "condition": evidence.condition,
            "premise": "; ".join(f"{text}: {e.condition} (measured {e.here(form)}, {e.verdict})" for text, e in grounds),
            "share": round(evidence.share, 4),
            "verdict": UNJUDGED if self.scale == "smoke" else evidence.verdict if met else UNMET,
            "scale": self.scale,
            "seed": self.seed,
        }
        return Verdict(self._rows[name])

    def __getitem__(self, name: str) -> dict:
        """The record of one claim, by its short name, for the prose beside a figure."""
        return self._rows[name]

    def _repr_mimebundle_(self, **kwargs):
        return {"text/html": table(self.rows), "text/plain": "\n".join(map(plain, self.rows))}
