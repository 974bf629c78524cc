"""What there is to learn: four relations, the bits they hold, and the share of pairs that should be enough."""

import math

import numpy as np
import torch

from ...checks import check

RELATIONS = ("equal mod 3", "equal mod 5", "greater-than", "bipartite")
SPLIT = 3  # of the bipartite graph: one entity in three is on the small side


def class_sizes(name, entities):
    """Sizes of the classes behind a relation; none for greater-than, whose entities are all different.

    Raises:
        ValueError: if `entities` does not divide into them.
    """
    check("name", name, set(RELATIONS))
    check("entities", entities, int, low=2)
    if name == "greater-than":
        return []
    k = SPLIT if name == "bipartite" else int(name[-1])
    if entities % k:
        raise ValueError(f"entities = {entities}: expected a multiple of {k} for {name}")
    m = entities // k
    return [m, entities - m] if name == "bipartite" else [m] * k


def classes(name, entities):
    """The class of each entity, (entities,) int64; for greater-than its place in the order."""
    sizes = class_sizes(name, entities)
    places = torch.arange(entities)
    return (places >= sizes[0]).long() if name == "bipartite" else places % len(sizes) if sizes else places


def relation(name, entities=30):
    """The relation as a table, (entities, entities) bool: entry (i, j) says whether i stands in the relation to j."""
    c = classes(name, entities)
    if name == "greater-than":
        return c[:, None] < c
    return (c[:, None] != c) if name == "bipartite" else (c[:, None] == c)


def description_length(name, entities=30):
    """Bits needed to say which labelled graph of its kind this is: exact, and as the paper approximates it.

    The exact value is log2(n! / |Aut G|), since relabelling the n entities gives n! tables of which |Aut G| are the same.
    The approximations are n log2 k for k classes, log2 n! for an order, n H(a/n) for a bipartite graph with sides a and
    n - a, where H is the binary entropy.
    """
    sizes, n = class_sizes(name, entities), entities
    swaps = math.prod(math.factorial(sizes.count(m)) for m in set(sizes))  # classes of one size may trade places
    exact = math.log2(math.factorial(n) // (math.prod(math.factorial(m) for m in sizes) * swaps))
    if not sizes:
        return exact, exact
    shares = [m / n for m in sizes]
    return exact, -n * sum(p * math.log2(p) for p in shares)


def balls_in_buckets(samples, bits):
    """Share of `bits` buckets that hold a ball after `samples` random throws: 1 - (1 - 1/b)^m (paper, Eq. 3)."""
    return 1 - (1 - 1 / bits) ** np.asarray(samples)


def bound(name, fraction, entities=30):
    """The paper's accuracy bound f + max(p, 1 - p)(1 - f) with f from Eq. 3 and the approximate bits (Eq. 5).

    p is the chance that an undetermined entry is 1: 1/k for k classes, 1/2 for bipartite, 1/3 for an order.
    """
    full = balls_in_buckets(np.asarray(fraction) * entities**2, description_length(name, entities)[1])
    p = {"greater-than": 1 / 3, "bipartite": 1 / 2}.get(name) or 1 / int(name[-1])
    return full + max(p, 1 - p) * (1 - full)


def draw_pairs(fractions, seeds, entities=30):
    """Which pairs each member sees, (members, entities, entities) bool.

    A seed fixes an order of the n² pairs and a member sees the first `fraction` of them: a larger fraction with the same
    seed adds pairs and takes none away.

    Raises:
        ValueError: if a fraction leaves nothing to see or nothing to be asked, or the two lists differ in length.
    """
    check("fractions", list(fractions), [float], above=0)
    check("seeds", list(seeds), [int], low=0)
    if len(fractions) != len(seeds):
        raise ValueError(f"fractions = {len(fractions)} values: expected one for each of {len(seeds)} seeds")
    total = entities**2
    seen = torch.zeros(len(seeds), total, dtype=torch.bool)
    for row, fraction, seed in zip(seen, fractions, seeds, strict=True):
        count = round(fraction * total)
        if not 0 < count < total:
            raise ValueError(f"fraction = {fraction}: expected between 1 and {total - 1} of {total} pairs, not {count}")
        row[torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]] = True
    return seen.view(-1, entities, entities)


def crossings(x, y, level=0.9):
    """Where each curve y (…, X) over x (X,), ascending, first reaches `level`, interpolated linearly; NaN if never."""
    x, y = torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
    up = y >= level
    i = up.int().argmax(-1, keepdim=True)
    j = (i - 1).clamp(min=0)
    y0, y1 = (y.gather(-1, k)[..., 0] for k in (j, i))
    x0, x1 = (x[k[..., 0]] for k in (j, i))
    part = torch.where(i[..., 0] > 0, (level - y0) / (y1 - y0), 0.0)
    return torch.where(up.any(-1), x0 + part * (x1 - x0), torch.nan)
