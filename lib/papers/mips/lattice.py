"""Hidden states on an integer lattice: the step of MIPS (Michaud et al., arXiv:2402.05110) from geometry to whole numbers.

If the hidden states of a network sit on the points of an affinely deformed integer lattice, finding it replaces every
state by a list of whole numbers, and every step by a row of a table. All float64 NumPy on the CPU; arrays may be tensors.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int, Shaped

from ...checks import check
from .networks import as_array

PRECISION = 0.01  # of a hidden state: smaller residuals cost nothing in `description_length`
ROUNDS = 12  # of Euclid's algorithm in `linear_lattice`


@dataclass(frozen=True)
class Lattice:
    """Points origin + z · basis for whole z: an autoencoder between hidden states and whole numbers.

    Attributes:
        basis: (n, n), its rows the basis vectors.
        origin: (n,).
    """

    basis: np.ndarray
    origin: np.ndarray

    def coordinates(self, h: Float[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch hidden"]:
        """Real coordinates of the hidden states h (…, n)."""
        return (np.asarray(h, dtype=np.float64) - self.origin) @ np.linalg.inv(self.basis)

    def encode(self, h: Float[np.ndarray, "*batch hidden"]) -> Int[np.ndarray, "*batch hidden"]:
        """Whole coordinates of the nearest point (in these coordinates), (…, n) int64."""
        return np.round(self.coordinates(h)).astype(np.int64)

    def decode(self, z: Shaped[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch hidden"]:
        """The lattice points with whole coordinates z (…, n)."""
        return z @ self.basis + self.origin

    def rounding(self, h: Float[np.ndarray, "*batch hidden"]) -> float:
        """Mean distance of the coordinates of h to whole numbers: 0 on the lattice, 1/4 for points anywhere."""
        z = self.coordinates(h)
        return float(abs(z - np.round(z)).mean())

    def description_length(self, h: Float[np.ndarray, "points hidden"]) -> float:
        """Mean bits for a state h (points, n): log2(1 + |z|) + log2(1 + |residual| / 0.01), summed over coordinates."""
        z = self.encode(h)
        residual = abs(np.asarray(h) - self.decode(z)) / PRECISION
        return float((np.log2(1 + abs(z)) + np.log2(1 + residual)).sum(-1).mean())


def reduce_basis(basis: Float[np.ndarray, "hidden hidden"]) -> Float[np.ndarray, "hidden hidden"]:
    """A short basis of the same lattice: each vector is taken off the others as often as shortens them, ten sweeps at most.

    Row sums are made non-negative. `basis` (n, n), rows the vectors, independent.
    """
    basis = np.array(basis, dtype=np.float64)
    for _ in range(10):
        before = basis.copy()
        for i in range(len(basis)):
            times = np.round(basis @ basis[i] / max(basis[i] @ basis[i], 1e-300))
            times[i] = 0
            basis -= times[:, None] * basis[i]
        if (basis == before).all():
            break
    return basis * np.where(basis.sum(1) < 0, -1, 1)[:, None]


def _anchored(basis, h):
    """The lattice with this basis (reduced) through the points h: smallest whole coordinate 0, mean residual 0.

    None if the vectors are dependent but for rounding errors.
    """
    basis = reduce_basis(basis)
    if np.linalg.cond(basis) > 1e6:
        return None
    lattice = Lattice(basis, h[h.sum(1).argmin()])
    lattice = Lattice(basis, lattice.origin + lattice.encode(h).min(0) @ basis)
    return Lattice(basis, lattice.origin + (h - lattice.decode(lattice.encode(h))).mean(0))


def linear_lattice(previous, inputs, current):
    """The lattice that the inputs span if the hidden state moves linearly, h' = W h + U x + b.

    A step by a whole input moves the state by U; k steps later by W^k U, k < 10. The authors take the n longest of these,
    for the first input, as they are. Here, from the longest down, each that is not in the span of those taken joins the
    basis; then, as in Euclid's algorithm, what is left of a vector after whole multiples of the basis replaces one of it,
    until all vectors are whole combinations (to 0.1). Where that takes too long they have no common lattice, and the
    longest vectors stay.

    Args:
        previous, current: hidden states before and after a step, (rows, n).
        inputs: the whole numbers read there, (rows, d).

    Returns:
        A `Lattice`, or None if the vectors do not span the hidden space.
    """
    previous, inputs, current = (
        as_array("previous", previous, 2),
        as_array("inputs", inputs, 2),
        as_array("current", current, 2),
    )
    n = previous.shape[1]
    design = np.concatenate([previous, inputs, np.ones((len(inputs), 1))], 1)
    fit = np.linalg.lstsq(design, current, rcond=None)[0]
    W, U, vectors = fit[:n].T, fit[n:-1].T, []
    for _ in range(max(10, n)):
        vectors += list(U.T)
        U = W @ U
    basis = np.zeros((0, n))
    for v in sorted(vectors, key=np.linalg.norm, reverse=True):
        outside = v - v @ np.linalg.pinv(basis) @ basis if len(basis) else v
        if len(basis) < n and np.linalg.norm(outside) > 0.01 * np.linalg.norm(v) > 1e-9:
            basis = np.concatenate([basis, v[None]])
    if len(basis) < n:
        return None
    finer = basis.copy()
    for _ in range(ROUNDS):  # each at least halves the volume
        if np.linalg.cond(finer) > 1 / np.finfo(float).eps:  # as where hidden states explode: vectors of all sizes
            break
        rest = np.array(vectors) @ np.linalg.inv(finer)
        rest -= np.round(rest)
        i, j = np.unravel_index(abs(rest).argmax(), rest.shape)
        if abs(rest[i, j]) < 0.1:
            return _anchored(finer, current)
        finer[j] = rest[i] @ finer
    return _anchored(basis, current)


def gcd_lattices(points, *, sample=32, grid=10, seed=0):
    """Lattices through a cloud of points, by Euclid's algorithm on volumes; all settings at once.

    The volume of every simplex with corners on a lattice is a whole multiple of the smallest. With n - 1 vectors between
    points held fixed, the volume is linear in the last one, so Euclid's algorithm on two volumes, carried out on the
    vectors, leaves a vector whose volume is their greatest common divisor: for the points 1.7, 3.2, 6.2, 7.7 on a line, 1.5.
    It is accepted if all simplices of the sample agree; otherwise the next point goes through the same mill.

    Args:
        points: (rows, n) with n ≤ 3.
        sample: points drawn for each fraction.
        grid: thresholds, and fractions, evenly spaced in log from 10⁻³ to 1: `grid`² settings. A setting takes points whose
            every coordinate lies in the central `fraction` of its quantiles, and what is below the threshold for zero.
        seed: of the draw.

    Returns:
        A list of the distinct `Lattice`s found.

    Raises:
        ValueError: for n > 3 or a bad argument.
    """
    points = as_array("points", points, 2)
    check("sample", sample, int, low=points.shape[1] + 1)
    check("grid", grid, int, low=1)
    n = points.shape[1]
    if n > 3:
        raise ValueError(f"points = {n} coordinates: expected at most 3")
    rng = np.random.default_rng(seed)
    levels = np.logspace(-3, 0, grid)
    samples = []
    for fraction in levels:
        low, high = np.quantile(points, [0.5 - fraction / 2, 0.5 + fraction / 2], axis=0)
        inside = np.flatnonzero(((points >= low) & (points <= high)).all(1))
        if len(inside) > n:
            drawn = points[rng.choice(inside, sample, replace=len(inside) < sample)]
            first = drawn.sum(1).argmin()
            samples.append(np.roll(drawn, -first, 0) - drawn[first])
    if not samples:
        return []
    samples = np.stack(samples)  # (fractions, sample, n), the first point of each at zero
    corners = np.array(list(combinations(range(sample), n + 1)))
    corners = corners[rng.permutation(len(corners))]
    volumes = abs(np.linalg.det(samples[:, corners[:, 1:]] - samples[:, corners[:, :1]]))

    which, thr = (a.ravel() for a in np.meshgrid(range(len(samples)), levels, indexing="ij"))  # the settings
    fixed = samples[:, 1:n]  # a volume is the product of its last vector with these cofactors
    unit = np.broadcast_to(np.eye(n)[:, None], (n, len(samples), n))[:, :, None]
    cofactors = np.linalg.det(np.concatenate([unit, np.broadcast_to(fixed, (n, *fixed.shape))], 2)).T[which]

    def agree(settings, volume):
        """Which settings find all volumes of their sample to be multiples of theirs; a few volumes rule most out."""
        for some in (slice(200), slice(200, None)):
            ratio = volumes[which[settings], some] / volume[settings, None]
            settings = settings[(abs(ratio - np.round(ratio)) * volume[settings, None] < thr[settings, None]).all(1)]
        return settings

    q, found, done = samples[which, n], [], np.zeros(len(which), bool)
    c = (q * cofactors).sum(1)
    for k in range(n + 1, sample):
        p = samples[which, k]
        a = (p * cofactors).sum(1)
        while (active := (abs(a) >= thr) & ~done).any():
            times = np.where(active, np.round(c / np.where(active, a, 1)), 0)
            p, q = np.where(active[:, None], q - times[:, None] * p, p), np.where(active[:, None], p, q)
            a, c = np.where(active, c - times * a, a), np.where(active, a, c)
        new = agree(np.flatnonzero(~done & (abs(c) >= thr)), abs(c))
        found += [np.concatenate([q[i, None], fixed[which[i]]]) for i in new]
        done[new] = True
        if done.all():
            break
    lattices = [lattice for basis in found if (lattice := _anchored(basis, points))]
    return list({lattice.basis.round(9).tobytes(): lattice for lattice in lattices}.values())


def best_lattice(previous, inputs, current, *, seed=0):
    """The lattice of shortest description among the linear finder's and, up to three hidden units, the GCD finder's.

    Returns:
        (name "linear" or "GCD", `Lattice`), or None if there is none. Arguments as for `linear_lattice`.
    """
    current = as_array("current", current, 2)
    linear = linear_lattice(previous, inputs, current)
    candidates = [("linear", linear)] if linear is not None else []
    if current.shape[1] <= 3:
        candidates += [("GCD", lattice) for lattice in gcd_lattices(current, seed=seed)]
    return min(candidates, key=lambda found: found[1].description_length(current), default=None)


# --- tables of whole numbers


@dataclass(frozen=True)
class Table:
    """Transitions between codes: distinct rows (z, x) -> z' with their counts, and z' -> y.

    Attributes:
        previous, inputs, current, outputs: int64, (rows, n), (rows, d), (rows, n), (rows, o); one row a recorded step.
    """

    previous: np.ndarray
    inputs: np.ndarray
    current: np.ndarray
    outputs: np.ndarray

    def conflicts(self):
        """((contradictions, distinct keys) of (z, x) -> z', the same of z' -> y): keys seen with more than one value."""
        before = np.concatenate([self.previous, self.inputs], 1)
        return conflicts(before, self.current), conflicts(self.current, self.outputs)

    def mirrored(self, axes):
        """The table with the code's coordinates in the bool mask `axes` (n,) counted from the other end."""
        top = self.current.max(0)
        return replace(self, previous=np.where(axes, top - self.previous, self.previous),
                       current=np.where(axes, top - self.current, self.current))  # fmt: skip


def _distinct(rows):
    """Number of the distinct row that each row of an int array (rows, k) is, and how many there are."""
    index = np.zeros(len(rows), np.int64)
    for column in rows.T:  # faster than to sort whole rows
        values, here = np.unique(column, return_inverse=True)
        unique, index = np.unique(index * len(values) + here, return_inverse=True)
    return index, len(unique)


def conflicts(keys, values):
    """How many of the distinct rows of `keys` come with more than one row of `values`, and how many there are."""
    key, count = _distinct(keys)
    pairs = np.unique(np.stack([key, _distinct(values)[0]], 1), axis=0)
    return int((np.bincount(pairs[:, 0], minlength=count) > 1).sum()), count


def transitions(hidden, inputs, outputs, steps=1):
    """The last `steps` steps of all sequences: hidden states before, inputs, hidden states after, outputs; rows flattened.

    Args:
        hidden: (S, T, n), h_1 … h_T.
        inputs: whole numbers (S, T, d).
        outputs: the outputs of the network, rounded here, (S, T, o).
        steps: how many of the T - 1 steps that have a state before; the authors use the last one only.
    """
    hidden, inputs, outputs = as_array("hidden", hidden, 3), as_array("inputs", inputs, 3), as_array("outputs", outputs, 3)
    if not hidden.shape[:2] == inputs.shape[:2] == outputs.shape[:2]:
        raise ValueError(f"hidden, inputs, outputs = {hidden.shape}, {inputs.shape}, {outputs.shape}: expected equal (S, T)")
    check("steps", steps, int, low=1, high=hidden.shape[1] - 1)
    after = slice(hidden.shape[1] - steps, None)
    before = slice(hidden.shape[1] - steps - 1, -1)
    parts = hidden[:, before], np.round(inputs[:, after]), hidden[:, after], np.round(outputs[:, after])
    return tuple(part.reshape(-1, part.shape[2]) for part in parts)


def label(lattice, previous, inputs, current, outputs):
    """The `Table` that a lattice makes of transitions (see there)."""
    whole = [np.asarray(part).astype(np.int64) for part in (inputs, outputs)]
    return Table(lattice.encode(previous), whole[0], lattice.encode(current), whole[1])
