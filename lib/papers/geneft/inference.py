"""Exact Bayesian inference: how often a reasoner is right who knows the kind of graph and has seen some of its pairs.

The reasoner holds every labelling of the kind that agrees with the pairs seen to be equally likely, and answers an unseen
pair by majority. Two samplers draw such labellings, for all cells (sets of pairs seen) and many chains at once.
"""

from itertools import combinations

import torch

from ...checks import check
from ...kernels.tensors import check_tensor
from .statics import classes


def sample_orders(seen, chains, sweeps, generator, every=20):
    """Orders that agree with the pairs seen, uniformly: yields positions (cells, chains, n) every so many sweeps.

    A sweep offers to swap neighbours, first at even and then at odd places, and each swap that contradicts no pair seen is
    made with probability 1/2 (Karzanov and Khachiyan 1991, with disjoint swaps made together). Every chain starts at the
    true order, and twice `sweeps` sweeps before those that count are thrown away.

    Args:
        seen: (cells, n, n) bool; the true order is 0, 1, …
        chains, sweeps: independent chains of each cell, and sweeps of each that count.
    """
    cells, n, _ = seen.shape
    before = (seen | seen.transpose(1, 2)).triu(1)  # x must come before y
    cell = torch.arange(cells)[:, None, None]
    order = torch.arange(n).expand(cells, chains, n).clone()
    for sweep in range(-2 * sweeps, sweeps):
        for odd in (0, 1):
            x, y = order[..., odd : n - 1 : 2], order[..., odd + 1 : n : 2]
            swap = torch.rand(x.shape, generator=generator) < 0.5
            swap &= ~before[cell, x, y]
            low, high = torch.where(swap, y, x), torch.where(swap, x, y)
            order[..., odd : n - 1 : 2], order[..., odd + 1 : n : 2] = low, high
        if sweep >= 0 and sweep % every == 0:
            yield order.argsort(-1)


def _components(links):
    """Connected components of graphs (B, n, n) bool: the smallest member of each entity's component, (B, n) int64."""
    n = links.shape[-1]
    label = torch.arange(n, dtype=torch.float32).expand(links.shape[:-1])
    apart = torch.where(links, 0.0, float(n))
    while True:
        least = torch.minimum(label, (label[:, None] + apart).amin(-1))
        if torch.equal(least, label):
            return label.long()
        label = least


def _flips(balance, generator):
    """Random signs s (B, n) = ±1 with Σ s balance = Σ balance, uniform over all such; `balance` (B, n) int64 with
    Σ |balance| ≤ n.

    Counting, from the last entry to the first, the ways to reach each remaining sum; then choosing forward by these counts.
    """
    count, n = balance.shape
    sums = torch.arange(-n, n + 1).expand(count, -1)
    ways = [(sums == 0).double()]
    for k in range(n - 1, -1, -1):
        step = balance[:, k, None]
        reach = [ways[-1].gather(1, (sums - s * step + n).clamp(0, 2 * n)) * ((sums - s * step).abs() <= n) for s in (1, -1)]
        ways.append(reach[0] + reach[1])
    left, signs = balance.sum(1), torch.empty_like(balance)
    for k in range(n):
        after = ways[n - 1 - k]
        keep, flip = (
            after.gather(1, (left - s * balance[:, k] + n).clamp(0, 2 * n)[:, None])[:, 0]
            * ((left - s * balance[:, k]).abs() <= n)
            for s in (1, -1)
        )
        same = torch.rand(count, generator=generator, dtype=torch.float64) * (keep + flip) < keep
        signs[:, k] = torch.where(same, 1, -1)
        left = left - signs[:, k] * balance[:, k]
    return signs


def sample_partitions(seen, truth, chains, sweeps, generator):
    """Partitions with the class sizes of `truth` that agree with the pairs seen: yields classes (cells, chains, n).

    A sweep takes every two classes in turn and draws their entities anew, exactly: pairs seen tie entities together, in
    the same class or in different ones, so each tied group can only trade sides as a whole, and of all the trades that
    keep the class sizes one is drawn uniformly (a balanced Kempe move). With two classes every draw is independent. A
    quarter of `sweeps` more are thrown away first.
    """
    cells, n, _ = seen.shape
    ties = (seen | seen.transpose(1, 2)).repeat_interleave(chains, 0) & ~torch.eye(n, dtype=torch.bool)
    colour = truth.expand(cells * chains, n).clone()
    for sweep in range(-(sweeps // 4), sweeps):
        for a, b in combinations(range(int(truth.max()) + 1), 2):
            side = (colour == a).long() - (colour == b).long()
            inside = side != 0
            root = _components(ties & inside[:, :, None] & inside[:, None])
            signs = _flips(torch.zeros_like(side).scatter_add_(1, root, side), generator)
            colour = torch.where(inside & (signs.gather(1, root) < 0), a + b - colour, colour)
        if sweep >= 0:
            yield colour.view(cells, chains, n)


def bayes_accuracy(name, seen, *, chains=16, sweeps=1000, seed=0):
    """Accuracy of exact inference on the pairs not seen, (cells,) float64.

    Half of the chains decide each answer and the other half say how likely it is: with few chains an estimate that
    is too low, and too high if the chains, which start at the true table, have not forgotten it.

    Args:
        name: relation, one of `RELATIONS`.
        seen: pairs seen, (cells, n, n) bool.
        chains: chains for each cell, even.
        sweeps: of each chain over orders; a chain over partitions mixes faster and takes a fiftieth.
        seed: of the draws.
    """
    check_tensor("seen", seen, 3, floating=False)
    check("chains", chains, int, low=2)
    check("sweeps", sweeps, int, low=1)
    n = seen.shape[1]
    generator = torch.Generator().manual_seed(seed)
    votes, count = torch.zeros(2, *seen.shape, dtype=torch.float64), 0
    if name == "greater-than":
        states = sample_orders(seen, chains, sweeps, generator)
    else:
        states = sample_partitions(seen, classes(name, n), chains, max(1, sweeps // 50), generator)
    for state in states:
        a, b = state[..., :, None], state[..., None, :]
        yes = a < b if name == "greater-than" else a != b if name == "bipartite" else a == b
        votes += torch.stack([yes[:, half::2].double().mean(1) for half in (0, 1)])
        count += 1
    decide, judge = votes / count
    sure = torch.where(decide > 0.5, judge, torch.where(decide < 0.5, 1 - judge, 0.5))
    return (sure * ~seen).sum((1, 2)) / (~seen).sum((1, 2))
