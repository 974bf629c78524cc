"""What a trained network does and where: task variance, functional clusters, their layout on the sheet, wiring, lesions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import silhouette_score
from torch import Tensor

from ...checks import check
from ...kernels.rate import RateNetworks
from .networks import Sheet
from .swaps import wires
from .tasks import FAMILIES, TASKS, Timing, Trials, trials

ACTIVE = 1e-3  # a unit is active if its variances, summed over the tasks, exceed this (Yang et al. 2019)
ALIVE = 1e-2  # a connection survives if |w| exceeds this


def task_trials(
    timing: Timing, each: int, seed: int, tasks: Iterable[int] = range(len(TASKS)), *, aligned: bool = False
) -> Trials:
    """`each` trials of each of these tasks, task by task."""
    check("each", each, int, low=2)
    rng = torch.Generator().manual_seed(seed)
    return trials(torch.tensor(list(tasks)).repeat_interleave(each), timing, rng, aligned=aligned)


def _last(exam):
    """Inputs, row counts and, for the last step of each trial, its packed row (B,)."""
    x, _, counts = exam.packed()
    order = exam.length.argsort(descending=True, stable=True)
    starts = torch.tensor([0, *counts]).cumsum(0)
    rows = torch.empty_like(order)
    rows[order] = starts[exam.length[order] - 1] + torch.arange(len(order))
    return x, counts, rows


def accuracy(
    stack: RateNetworks, exam: Trials, alive: Float[Tensor, "members units"] | None = None
) -> Float[Tensor, "members tasks"]:
    """Share of the trials of each task of an exam whose last step is answered rightly.

    Args:
        stack: the networks.
        exam: trials from `task_trials`.
        alive: 1 for units that are left and 0 for others; None for all.
    """
    x, counts, rows = _last(exam)
    V, c = stack.parts()[3:]
    h = stack.states(x, counts, alive=alive)[:, rows]
    picked = torch.baddbmm(c[:, None], h, V.mT).argmax(2)
    return (
        (picked == exam.y[torch.arange(len(rows)), exam.length - 1])
        .float()
        .unflatten(1, (len(exam.task.unique()), -1))
        .mean(2)
    )


def task_variance(stack: RateNetworks, exam: Trials) -> Float[Tensor, "members units tasks"]:
    """Variance of each unit over the trials of a task, averaged over the steps of a trial.

    `exam` are aligned (`task_trials(…, aligned=True)`): the trials of a task have the same length.
    """
    found = []
    lengths = exam.length.view(len(TASKS), -1)[:, 0].tolist()
    for x, length in zip(exam.x.unflatten(0, (len(TASKS), -1)), lengths, strict=True):
        h = stack.states(x[:, :length].transpose(0, 1).flatten(0, 1), [len(x)] * length)
        found.append(h.unflatten(1, (length, -1)).var(2).mean(1))
    return torch.stack(found, 2)


def clusters(features: Float[Tensor, "units tasks"], count: int) -> Int[Tensor, " units"]:
    """Ward's clusters of the rows of `features`: labels from 0, ordered by the task they prefer on average."""
    labels = torch.from_numpy(fcluster(linkage(features.numpy(), "ward"), count, "maxclust")).long() - 1
    used = labels.unique()
    means = torch.stack([features[labels == k].mean(0) for k in used])
    centre = (means * torch.arange(means.shape[1])).sum(1) / means.sum(1)
    rank = torch.empty(int(used.max()) + 1, dtype=torch.int64)
    rank[used[centre.argsort()]] = torch.arange(len(used))
    return rank[labels]


def _silhouette(features, labels):
    several = 1 < len(labels.unique()) < len(labels)
    return float(silhouette_score(features, labels)) if several else 0.0


@dataclass(frozen=True)
class Portrait:
    """One network's function and anatomy.

    Attributes:
        variance: task variance of all units.
        active: indices of the active units.
        features: their variances over their largest.
        labels: their functional clusters.
        place: where they sit, in the unit square.
    """

    variance: Float[Tensor, "units tasks"]
    active: Int[Tensor, " active"]
    features: Float[Tensor, "active tasks"]
    labels: Int[Tensor, " active"]
    place: Float[Tensor, "active 2"]

    @property
    def importance(self) -> Float[Tensor, " units"]:
        """Variance summed over the tasks."""
        return self.variance.sum(1)

    @property
    def silhouette(self) -> float:
        """Mean silhouette of the clusters: from -1 to 1, the sharper the larger; 0 if there is one cluster only."""
        return _silhouette(self.features, self.labels)

    def null_silhouette(self, shuffles: int, seed: int = 0) -> float:
        """The same, a mean over profiles that have lost their order: each task's variances dealt at random to the units."""
        rng = torch.Generator().manual_seed(seed)
        count, found = len(self.labels.unique()), []
        for _ in range(shuffles):
            mixed = self.features.gather(0, torch.rand(self.features.shape, generator=rng).argsort(0))
            found.append(_silhouette(mixed, clusters(mixed, count)))
        return sum(found) / shuffles

    def silhouettes(self, most: int) -> Float[Tensor, " counts"]:
        """Mean silhouette of Ward's clusters, for 2 to `most` of them."""
        tree = linkage(self.features.numpy(), "ward")
        counts = range(2, min(most, len(self.active) - 1) + 1)
        return torch.tensor([silhouette_score(self.features, fcluster(tree, k, "maxclust")) for k in counts])


def portraits(stack: RateNetworks, exam: Trials, place: Sheet, count: int = 7) -> list[Portrait]:
    """A portrait of each network, from aligned trials, with `count` functional clusters."""
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
        shuffles: the same for shuffled labels.
    """

    value: float
    shuffles: Float[Tensor, " shuffles"]

    @property
    def z(self) -> float:
        """Standard deviations above the mean of the shuffles."""
        return (self.value - self.shuffles.mean().item()) / self.shuffles.std().item()

    @property
    def ratio(self) -> float:
        """Value over the mean of the shuffles."""
        return self.value / self.shuffles.mean().item()


def _score(values):
    return Score(values[0].item(), values[1:])


def scatter(place: Float[Tensor, "units axes"], labels: Int[Tensor, " units"], shuffles: int = 1000, seed: int = 0) -> Score:
    """Sum of squared distances of units to the centre of their cluster.

    Its `ratio` is 1 for units that sit anywhere, smaller for clusters that sit together. The paper's variance of indices
    is the same on a line, where places have one coordinate.
    """
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(place)  # (F, N, K)
    sums, sizes = hot.mT @ place, hot.sum(1)[..., None].clamp(min=1)
    return _score(place.square().sum() - (sums.square() / sizes).sum((1, 2)))


def isolated(
    place: Float[Tensor, "units axes"], labels: Int[Tensor, " units"], reach: float, shuffles: int = 1000, seed: int = 0
) -> Score:
    """Share of units none of whose neighbours, closer than `reach` in both coordinates, is of the same cluster."""
    near = ((place[:, None] - place).abs().amax(2) < reach).float().fill_diagonal_(0)
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(place)
    friends = ((near @ hot) * hot).sum(2)
    return _score((friends == 0).float().mean(1))


def map_correlation(
    place: Float[Tensor, "units 2"], features: Float[Tensor, "units tasks"], shuffles: int = 1000, seed: int = 0
) -> Score:
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


def coupling(W: Float[Tensor, "units units"], labels: Int[Tensor, " units"], shuffles: int = 1000, seed: int = 0) -> Score:
    """Share of the recurrent strength |W| between different units that lies inside clusters."""
    S = W.abs().clone().fill_diagonal_(0)
    hot = torch.nn.functional.one_hot(_shuffled(labels, shuffles, seed)).to(S)
    return _score(((S @ hot) * hot).sum((1, 2)) / S.sum())


def prune(stack: RateNetworks, threshold: float = ALIVE) -> RateNetworks:
    """The networks without their connections of |w| ≤ `threshold` (biases stay)."""
    other = replace(stack, theta=stack.theta.clone())
    W, U, _, V, _ = other.parts()
    for part in (W, U, V):
        part.mul_(part.abs() > threshold)
    return other


def wiring(stack: RateNetworks, place: Sheet, threshold: float = ALIVE) -> Float[Tensor, " members"]:
    """Length of all surviving recurrent connections in cells of the sheet, however strong they are.

    The paper seems to count so: a network of 400 units without a price has 2.0e6, and all its possible wires 2.1e6.
    """
    return ((stack.parts()[0].abs() > threshold) * place.lateral).sum((1, 2)) * place.side


def strength_by_distance(
    stack: RateNetworks, place: Sheet
) -> tuple[Float[Tensor, " distances"], Float[Tensor, "members distances"]]:
    """Distances that occur on the sheet, and the mean |W| of the connections of that length."""
    steps = (place.lateral * place.side).round().long()
    W = stack.parts()[0]
    share = torch.nn.functional.one_hot(steps.flatten()).to(W)
    return torch.arange(share.shape[1]) / place.side, W.abs().flatten(1) @ share / share.sum(0)


def strongest(W: Float[Tensor, "units units"], count: int) -> Int[Tensor, "pairs 2"]:
    """The `count` strongest connections between different units of one network: pairs of slots."""
    S = (W.abs() + W.abs().T).triu(1)
    best = S.flatten().topk(min(count, int((S > 0).sum()))).indices
    return torch.stack([best // len(W), best % len(W)], 1)


def family_means(values: Float[Tensor, "*rows tasks"]) -> Float[Tensor, "*rows families"]:
    """Means over the four families of tasks."""
    return torch.stack([values[..., list(tasks)].mean(-1) for tasks in FAMILIES.values()], -1)


def lesions(stack: RateNetworks, exam: Trials, masks: Bool[Tensor, "masks units"]) -> Float[Tensor, "masks tasks"]:
    """Drop of accuracy of one network (a stack of one) without the units of each mask."""
    whole = accuracy(stack, exam)
    many = stack[torch.zeros(len(masks), dtype=torch.int64)]
    return whole - accuracy(many, exam, alive=(~masks).to(stack.theta))


def lesion_masks(
    found: Portrait, sets: int, seed: int = 0
) -> tuple[Bool[Tensor, "clusters units"], Bool[Tensor, "sets units"]]:
    """Units to remove from one network: each of its clusters, and for each of them `sets` random sets as large."""
    rng = torch.Generator().manual_seed(seed)
    clusters = torch.zeros(int(found.labels.max()) + 1, len(found.variance), dtype=torch.bool)
    clusters[found.labels, found.active] = True
    chance = torch.zeros_like(clusters).repeat_interleave(sets, 0)
    for row, size in zip(chance, clusters.sum(1).repeat_interleave(sets).tolist(), strict=True):
        row[found.active[torch.randperm(len(found.active), generator=rng)[:size]]] = True
    return clusters, chance


def unevenness(drops: Float[Tensor, "lesions tasks"], least: float = 0.01) -> float:
    """How unevenly lesions hit the four families: standard deviation over families of the drops, over their mean.

    The mean over all lesions that cost at least `least` on average; NaN if there is none. 0 if they hurt all families alike,
    √3 if each hurts one alone (the standard deviation is of the population).
    """
    means = family_means(drops[drops.mean(1) >= least]).clamp(min=0)
    return (means.std(-1, correction=0) / means.mean(-1)).mean().item() if len(means) else float("nan")


def survey(
    stack: RateNetworks, place: Sheet, found: list[Portrait], shuffles: int = 1000
) -> dict[str, Float[Tensor, " members"]]:
    """Every measure of every network's anatomy.

    Args:
        stack: the networks.
        place: their sheet.
        found: their portraits.
        shuffles: of the labels.

    Returns:
        active (units), wiring and cost (see `wiring` and `swaps.Wires.cost`), scatter (ratio to shuffles), map
        (correlation), coupling (ratio to shuffles), and isolated and variance (units in a line, row after row, as the paper
        seems to count: standard deviations above the shuffles).
    """
    table = {
        "active": torch.tensor([float(len(p.active)) for p in found]),
        "wiring": wiring(stack, place),
        "cost": wires(stack, place).cost(),
    }
    rows = []
    for p, W in zip(found, stack.parts()[0], strict=True):
        line = torch.arange(len(p.active)).float()[:, None]
        rows.append({
            "scatter": scatter(p.place, p.labels, shuffles).ratio,
            "map": map_correlation(p.place, p.features, 2).value,
            "coupling": coupling(W[p.active][:, p.active], p.labels, shuffles).ratio,
            "isolated": isolated(line, p.labels, 1.5, shuffles).z,
            "variance": scatter(line, p.labels, shuffles).z,
        })  # fmt: skip
    return table | {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def halfway(steps: list[int], course: Float[Tensor, "rows records"]) -> Float[Tensor, " rows"]:
    """Update at which a measure has gone half of its way from the first record to the last, by linear interpolation.

    The last update where it does not rise.
    """
    clock, rise = torch.tensor(steps).to(course), course[:, -1:] - course[:, :1]
    share = (course - course[:, :1]) / rise
    after = (share >= 0.5).long().argmax(1, keepdim=True).clamp(min=1)
    low, high = share.gather(1, after - 1), share.gather(1, after)
    part = (0.5 - low) / (high - low)
    found = clock[after - 1] + part * (clock[after] - clock[after - 1])
    return found.where(rise > 0, clock[-1])[:, 0]


def cheapest(
    error: Float[Tensor, "rows prices"], other: Float[Tensor, "rows prices"], levels: Float[Tensor, " levels"]
) -> Float[Tensor, "rows levels"]:
    """What another measure is at the highest price that keeps the error at a level: this chapter's own.

    Points are in the order of price and joined by straight lines. A level beyond the ends of a curve gets its nearest point:
    the one of least error, if all errors are above the level, or the last one, if that is below.
    """
    under, last = error[..., None] <= levels.to(error), error.shape[1] - 1
    known = under.any(1)
    left = (last - under.flip(1).long().argmax(1)).where(known, error.argmin(1, keepdim=True))
    right = (left + 1).clamp(max=last)
    start, end = error.gather(1, left), error.gather(1, right)
    share = ((levels.to(error) - start) / (end - start)).where(known & (left < last), 0.0)
    start, end = other.gather(1, left), other.gather(1, right)
    return start + share * (end - start)
