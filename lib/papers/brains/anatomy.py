"""What a trained network does and where: task variance, functional clusters, their layout on the sheet, wiring, lesions."""

from dataclasses import dataclass, replace

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import silhouette_score

from ...checks import check
from .swaps import wires
from .tasks import FAMILIES, TASKS, trials

ACTIVE = 1e-3  # a unit is active if its variances, summed over the tasks, exceed this (Yang et al. 2019)
ALIVE = 1e-2  # a connection survives if |w| exceeds this


def task_trials(timing, each, seed, *, aligned=False):
    """`each` trials of every task, as `tasks.Trials`."""
    check("each", each, int, low=2)
    rng = torch.Generator().manual_seed(seed)
    return trials(torch.arange(len(TASKS)).repeat_interleave(each), timing, rng, aligned=aligned)


def _last(exam):
    """Inputs, row counts and, for the last step of each trial, its packed row (B,)."""
    x, _, counts = exam.packed()
    order = exam.length.argsort(descending=True, stable=True)
    starts = torch.tensor([0, *counts]).cumsum(0)
    rows = torch.empty_like(order)
    rows[order] = starts[exam.length[order] - 1] + torch.arange(len(order))
    return x, counts, rows


def accuracy(stack, exam, alive=None):
    """Share of trials of each task whose last step is answered rightly (members, 20).

    Args:
        stack: `RateNetworks`.
        exam: `Trials`, an equal number of each task, sorted by task (`task_trials`).
        alive: units that are left, (members, n) of 0 and 1; None for all.
    """
    x, counts, rows = _last(exam)
    V, c = stack.parts()[3:]
    h = stack.states(x, counts, alive=alive)[:, rows]
    picked = torch.baddbmm(c[:, None], h, V.mT).argmax(2)
    return (picked == exam.y[torch.arange(len(rows)), exam.length - 1]).float().unflatten(1, (len(TASKS), -1)).mean(2)


def task_variance(stack, exam):
    """Variance of each unit over the trials of a task, averaged over the steps of a trial (members, n, 20).

    `exam` are aligned `Trials` (`task_trials(…, aligned=True)`): the trials of a task have the same length.
    """
    found = []
    lengths = exam.length.view(len(TASKS), -1)[:, 0].tolist()
    for x, length in zip(exam.x.unflatten(0, (len(TASKS), -1)), lengths, strict=True):
        h = stack.states(x[:, :length].transpose(0, 1).flatten(0, 1), [len(x)] * length)
        found.append(h.unflatten(1, (length, -1)).var(2).mean(1))
    return torch.stack(found, 2)


def clusters(features, count):
    """Ward's clusters of the rows of `features` (N, 20): labels (N,) from 0, ordered by the task they prefer on average."""
    labels = torch.from_numpy(fcluster(linkage(features.numpy(), "ward"), count, "maxclust")).long() - 1
    used = labels.unique()
    means = torch.stack([features[labels == k].mean(0) for k in used])
    centre = (means * torch.arange(means.shape[1])).sum(1) / means.sum(1)
    rank = torch.empty(int(used.max()) + 1, dtype=torch.int64)
    rank[used[centre.argsort()]] = torch.arange(len(used))
    return rank[labels]


@dataclass(frozen=True)
class Portrait:
    """One network's function and anatomy.

    Attributes:
        variance: task variance (n, 20).
        active: indices of the active units (N,).
        features: their variances over their largest (N, 20).
        labels: their functional clusters (N,).
        place: where they sit (N, 2), in the unit square.
    """

    variance: torch.Tensor
    active: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor
    place: torch.Tensor

    @property
    def importance(self):
        """Variance summed over the tasks (n,)."""
        return self.variance.sum(1)

    @property
    def silhouette(self):
        """Mean silhouette of the clusters: from -1 to 1, the sharper the larger; 0 if there is one cluster only."""
        several = 1 < len(self.labels.unique()) < len(self.labels)
        return float(silhouette_score(self.features, self.labels)) if several else 0.0

    def silhouettes(self, most):
        """Mean silhouette (most - 1,) of Ward's clusters, for 2 to `most` of them."""
        tree = linkage(self.features.numpy(), "ward")
        counts = range(2, min(most, len(self.active) - 1) + 1)
        return torch.tensor([silhouette_score(self.features, fcluster(tree, k, "maxclust")) for k in counts])


def portraits(stack, exam, place, count=7):
    """A `Portrait` for each of the `RateNetworks`, from aligned trials, with `count` functional clusters."""
    check("count", count, int, low=2)
    found = []
    for variance in task_variance(stack, exam):
        active = (variance.sum(1) > ACTIVE).nonzero().flatten()
        features = variance[active] / variance[active].amax(1, keepdim=True)
        found.append(Portrait(variance, active, features, clusters(features, count), place.place[active]))
    return found


def _shuffled(labels, shuffles, seed):
    """The labels, and below them `shuffles` random permutations of them (1 + shuffles, N)."""
    rng = torch.Generator().manual_seed(seed)
    mixed = torch.rand(shuffles, len(labels), generator=rng).argsort(1)
    return torch.cat([labels[None], labels[mixed]])


@dataclass(frozen=True)
class Score:
    """A measure of layout against random shuffles.

    Attributes:
        value: measured.
        shuffles: the same for shuffled labels (F,).
    """

    value: float
    shuffles: torch.Tensor

    @property
    def z(self):
        """Standard deviations above the mean of the shuffles."""
        return (self.value - self.shuffles.mean().item()) / self.shuffles.std().item()

    @property
    def ratio(self):
        """Value over the mean of the shuffles."""
        return self.value / self.shuffles.mean().item()


def _score(values):
    return Score(values[0].item(), values[1:])


def scatter(place, labels, shuffles=1000, seed=0):
    """Sum of squared distances (in the plane, `place` (N, 2)) of units to the centre of their cluster.

    Its `ratio` is 1 for units that sit anywhere, smaller for clusters that sit together. The paper's variance of indices
    is the same on a line: `place` (N, 1).
    """
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(place)  # (F, N, K)
    sums, sizes = hot.mT @ place, hot.sum(1)[..., None].clamp(min=1)
    return _score(place.square().sum() - (sums.square() / sizes).sum((1, 2)))


def isolated(place, labels, reach, shuffles=1000, seed=0):
    """Share of units none of whose neighbours, closer than `reach` in both coordinates, is of the same cluster."""
    near = ((place[:, None] - place).abs().amax(2) < reach).float().fill_diagonal_(0)
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(place)
    friends = ((near @ hot) * hot).sum(2)
    return _score((friends == 0).float().mean(1))


def map_correlation(place, features, shuffles=1000, seed=0):
    """Correlation, over pairs of units, of the distance between their features and their distance on the sheet.

    It needs no clusters.
    """
    above = torch.triu_indices(len(place), len(place), 1)
    function, distance = torch.cdist(features, features), torch.cdist(place, place)
    orders = _shuffled(torch.arange(len(place)), shuffles, seed)
    a = function[orders[:, above[0]], orders[:, above[1]]]
    b = distance[above[0], above[1]]
    a, b = a - a.mean(1, keepdim=True), b - b.mean()
    return _score((a @ b) / (a.norm(dim=1) * b.norm()))


def coupling(W, labels, shuffles=1000, seed=0):
    """Share of the recurrent strength |W| between different units (N, N) that lies inside clusters."""
    S = W.abs().clone().fill_diagonal_(0)
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(S)
    return _score(((S @ hot) * hot).sum((1, 2)) / S.sum())


def prune(stack, threshold=ALIVE):
    """The networks without their connections of |w| ≤ `threshold` (biases stay)."""
    other = replace(stack, theta=stack.theta.clone())
    W, U, _, V, _ = other.parts()
    for part in (W, U, V):
        part.mul_(part.abs() > threshold)
    return other


def wiring(stack, place, threshold=ALIVE):
    """Length of all surviving connections (members,), in cells of the sheet, however strong they are."""
    W, U, _, V, _ = stack.parts()
    ways = ((W, place.lateral), (U, place.inputs), (V, place.outputs))
    return sum(((w.abs() > threshold) * d).sum((1, 2)) for w, d in ways) * place.side


def strength_by_distance(stack, place):
    """Distances (D,) that occur on the sheet and mean |W| of the connections of that length (members, D)."""
    steps = (place.lateral * place.side).round().long()
    W = stack.parts()[0]
    share = torch.nn.functional.one_hot(steps.flatten()).to(W)
    return torch.arange(share.shape[1]) / place.side, W.abs().flatten(1) @ share / share.sum(0)


def strongest(W, count):
    """The `count` strongest connections between different units of one network, W (n, n): pairs (count, 2)."""
    S = (W.abs() + W.abs().T).triu(1)
    best = S.flatten().topk(min(count, int((S > 0).sum()))).indices
    return torch.stack([best // len(W), best % len(W)], 1)


def family_means(values):
    """Means over the four families of tasks (…, 4) of values (…, 20)."""
    return torch.stack([values[..., list(tasks)].mean(-1) for tasks in FAMILIES.values()], -1)


def lesions(stack, exam, masks):
    """Drop of accuracy (K, 20) of one network (a stack of one) without the units of each of the masks (K, n), bool."""
    whole = accuracy(stack, exam)
    many = stack[torch.zeros(len(masks), dtype=torch.int64)]
    return whole - accuracy(many, exam, alive=(~masks).to(stack.theta))


def lesion_masks(found, units, sets, seed=0):
    """Units to remove from one network, by its `Portrait`: its clusters, and `sets` random sets and discs as large as each.

    A disc is an active unit and those active ones that sit nearest to it.

    Returns:
        Three masks of bool: clusters (K, n), random sets (K sets, n), discs (K sets, n).
    """
    rng = torch.Generator().manual_seed(seed)
    sizes = found.labels.bincount()
    clusters, chance, discs = [], [], []
    for label, size in enumerate(sizes.tolist()):
        clusters.append(found.active[found.labels == label])
        for _ in range(sets):
            order = torch.randperm(len(found.active), generator=rng)
            chance.append(found.active[order[:size]])
            away = (found.place - found.place[order[0]]).norm(dim=1)
            discs.append(found.active[away.argsort(stable=True)[:size]])
    masks = [torch.zeros(len(group), units, dtype=torch.bool) for group in (clusters, chance, discs)]
    for mask, group in zip(masks, (clusters, chance, discs), strict=True):
        for row, chosen in zip(mask, group, strict=True):
            row[chosen] = True
    return masks


def unevenness(drops, least=0.01):
    """How unevenly lesions hit the four families: standard deviation over families of the drops (K, 20), over their mean.

    The mean over all lesions that cost at least `least` on average; NaN if there is none. 0 if they hurt all families alike,
    √3 if each hurts one alone (the standard deviation is of the population).
    """
    means = family_means(drops[drops.mean(1) >= least]).clamp(min=0)
    return (means.std(-1, correction=0) / means.mean(-1)).mean().item() if len(means) else float("nan")


def survey(stack, place, exam, found, shuffles=1000):
    """Every measure of every network, a dict of tensors (members,).

    Args:
        stack: `RateNetworks`.
        place: their `Sheet`.
        exam: `Trials` for the accuracy.
        found: their `Portrait`s.
        shuffles: of the labels, for the z-scores.

    Returns:
        error (1 - accuracy, mean over tasks), pruned (the same without the connections of |w| ≤ 0.01), active (units),
        wiring and cost (see `wiring` and `swaps.Wires.cost`), scatter (ratio to shuffles) and its scatter_z, map and map_z,
        isolated_z, line_scatter_z and line_isolated_z (units in a line, row after row, as the paper seems to count), and
        coupling (ratio to shuffles).
    """
    table = {
        "error": 1 - accuracy(stack, exam).mean(1),
        "pruned": 1 - accuracy(prune(stack), exam).mean(1),
        "active": torch.tensor([float(len(p.active)) for p in found]),
        "wiring": wiring(stack, place),
        "cost": wires(stack, place).cost(),
    }
    rows = []
    for p, W in zip(found, stack.parts()[0], strict=True):
        line = torch.arange(len(p.active)).float()[:, None]
        spread, chart = scatter(p.place, p.labels, shuffles), map_correlation(p.place, p.features, shuffles)
        rows.append({
            "scatter": spread.ratio, "scatter_z": spread.z, "map": chart.value, "map_z": chart.z,
            "isolated_z": isolated(p.place, p.labels, 1.5 / place.side, shuffles).z,
            "line_scatter_z": scatter(line, p.labels, shuffles).z,
            "line_isolated_z": isolated(line, p.labels, 1.5, shuffles).z,
            "coupling": coupling(W[p.active][:, p.active], p.labels, shuffles).ratio,
        })  # fmt: skip
    return table | {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
