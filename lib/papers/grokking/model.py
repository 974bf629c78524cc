"""The networks that grok: two tokens, one shared embedding, three linear layers, trained on part of a table of answers."""

from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from sklearn.cluster import SpectralClustering

from ...checks import check
from ...kernels.embedding import Embedded
from ...kernels.mlp import fan_in_start, layer_views
from ...kernels.optimisers import AdamW
from ...kernels.problems import Differentiable
from ...kernels.training import train
from .mappings import jacobian_lmn, linearity, lmn, matrix, nonlinearity, renyi2, silu_slope

TASKS = {"addition", "s4", "xor"}


def answers(task, modulus=31):
    """The table (P, P), int64, of what the network learns: row a and column b hold the answer to "a, b".

    "addition" is a + b modulo `modulus`; "s4" the composition of the 24 permutations of four things; "xor" the bitwise
    exclusive or of two 5-bit numbers.
    """
    check("task", task, TASKS)
    check("modulus", modulus, int, low=2)
    if task == "s4":
        elements = list(permutations(range(4)))
        number = {g: k for k, g in enumerate(elements)}
        return torch.tensor([[number[tuple(g[k] for k in h)] for h in elements] for g in elements])
    tokens = torch.arange(32 if task == "xor" else modulus)
    a, b = tokens[:, None], tokens[None]
    return a ^ b if task == "xor" else (a + b) % modulus


def networks(tokens, seeds, *, scale=1.0, width=100, embedding=32, dtype=torch.float32, device="cpu"):
    """Parameters of one network a seed, as a dict of tensors (S, …); layers have shape (out, in).

    The embedding is normal with standard deviation `scale` (a number or one a member); layers start as PyTorch's default,
    uniform in ±1/sqrt(fan in). A seed gives the same start at every scale, on every device.
    """
    sizes, points, blocks = (2 * embedding, width, width, tokens), [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        points.append(torch.randn(tokens, embedding, generator=generator, dtype=torch.float64))
        blocks.append(fan_in_start(1, [sizes], generator))
    parameters = {"E": torch.stack(points) * torch.as_tensor(scale, dtype=torch.float64, device="cpu").reshape(-1, 1, 1)}
    for depth, (W, b) in enumerate(layer_views(torch.cat(blocks), sizes), start=1):
        parameters |= {f"W{depth}": W, f"b{depth}": b}
    return {name: t.to(device, dtype).contiguous() for name, t in parameters.items()}


def affine(W, b, x):
    """x Wᵀ + b for points as rows x (S, K, d)."""
    return torch.baddbmm(b.unsqueeze(1), x, W.mT)


def first(p, inputs=None):
    """What enters the first hidden layer, (S, N, width), for inputs (S, N) int64, numbered aP + b; None for all P²."""
    left, right = (p["E"] @ half.mT for half in p["W1"].chunk(2, 2))
    table = (left.unsqueeze(2) + (right + p["b1"].unsqueeze(1)).unsqueeze(1)).flatten(1, 2)
    if inputs is None:
        return table
    start = torch.arange(len(table), device=table.device).unsqueeze(1) * table.shape[1]
    return table.flatten(0, 1).index_select(0, (inputs + start).flatten()).unflatten(0, inputs.shape)


def tail(p, cut, output="logits"):
    """The network from a cut on, as a map of points (S, K, d) to outputs (S, K, C).

    Straight lines stay straight under affine maps, so each cut is taken behind the affine map that follows it: cut 0, the
    embedding, at what enters the first hidden layer; cut 1, the first hidden layer, at what enters the second; cut 2, the
    second hidden layer, at the logits.
    """

    def f(z):
        if cut == 0:
            z = affine(p["W2"], p["b2"], F.silu(z))
        if cut <= 1:  # W3 on the left: with few outputs this product is twice as fast
            z = torch.baddbmm(p["b3"].unsqueeze(2), p["W3"], F.silu(z).mT).mT
        return z if output == "logits" else torch.log_softmax(z, 2)

    return f


def points(p, cut, inputs=None):
    """What `tail(p, cut)` starts from, (S, N, d), for inputs (S, N) as in `first`."""
    z = first(p, inputs)
    for W, b in [(p["W2"], p["b2"]), (p["W3"], p["b3"])][:cut]:
        z = affine(W, b, F.silu(z))
    return z


def split(seeds, inputs, share):
    """Which inputs are trained on, (S, n) int64, and which tested, (S, inputs - n): random, one split a seed."""
    orders = [torch.randperm(inputs, generator=torch.Generator().manual_seed(1000 + seed)) for seed in seeds]
    order, n = torch.stack(orders), round(share * inputs)
    return order[:, :n], order[:, n:]


@dataclass(frozen=True)
class History:
    """What training leaves behind, on the CPU; S members, T recorded steps.

    Attributes:
        steps: (T,) int64.
        parameters: dict of tensors (T, S, …).
        losses: cross-entropy in nats on training and test inputs, (T, S, 2).
        accuracies: shares answered correctly, likewise.
        norms: Euclidean norm of all parameters, (T, S).
        device: where measurements run.
    """

    steps: torch.Tensor
    parameters: dict
    losses: torch.Tensor
    accuracies: torch.Tensor
    norms: torch.Tensor
    device: str = "cpu"

    def at(self, step):
        """Index of the recorded step nearest to `step`."""
        return int((self.steps - step).abs().argmin())

    def networks(self, step, member=None):
        """The parameters (S, …) at the recorded step nearest to `step`; of one member only, (1, …), if it is named."""
        chosen = slice(None) if member is None else slice(member, member + 1)
        return {name: t[self.at(step), chosen].to(self.device) for name, t in self.parameters.items()}

    def reached(self, accuracy, on):
        """First recorded step (S,) at which the accuracy `on` "training" or "test" is reached; -1 if it never is."""
        hit = self.accuracies[:, :, ("training", "test").index(on)] >= accuracy
        return torch.where(hit.any(0), self.steps[hit.long().argmax(0)], -1)


def nonlinearity_penalty(p, z, pairs):
    """Mean nonlinearity 1 - mean L_ij of the first hidden layer's tail on `pairs` of the inputs behind z; (S,)."""

    def f(z):
        return affine(p["W3"], p["b3"], F.silu(z))

    return 1 - linearity(f, z, pairs, order=4, block=pairs.shape[1]).mean(1)


def jacobian_penalty(p, z, pairs):
    """Mean squared Frobenius norm of that tail's Jacobian, for each output, at one end of each pair; (S,)."""
    slopes = silu_slope(z.index_select(1, pairs[0]))
    M = (p["W2"] @ p["W2"].mT) * (p["W3"].mT @ p["W3"])
    return ((slopes @ M) * slopes).sum(2).mean(1) / p["W3"].shape[1]


PENALTIES = {"nonlinearity": nonlinearity_penalty, "jacobian": jacobian_penalty}


def grok(
    task,
    seeds,
    steps,
    *,
    decay=0.2,
    scale=1.0,
    penalty="none",
    strength=0.0,
    pairs=256,
    share=0.8,
    rate=1e-3,
    betas=(0.9, 0.999),
    at=(),
    modulus=31,
    width=100,
    embedding=32,
    dtype=torch.float32,
    device="cpu",
    progress=iter,
):
    """Train one network a seed on part of a table, full batch, with AdamW.

    Args:
        task: as for `answers`, with `modulus`.
        seeds: of start and split, one a member; a seed may occur several times with other settings.
        steps: updates.
        decay, scale, strength: weight decay, standard deviation of the embedding at the start, and factor on the penalty;
            each a number or a tensor (members,).
        penalty: "none", "nonlinearity" or "jacobian", added to the loss on `pairs` random pairs of training inputs a step.
        share: of the table trained on. rate, betas: of AdamW.
        at: steps to record. width, embedding: sizes. dtype, device: where and how precisely. progress: see `train`.

    Returns:
        A `History`.

    Raises:
        ValueError: for a bad argument.
    """
    check("seeds", seeds, [int], low=0)
    check("penalty", penalty, {"none", *PENALTIES})
    check("share", share, float, above=0, high=0.99)
    table = answers(task, modulus).to(device)
    parts = [part.to(device) for part in split(seeds, table.numel(), share)]
    start = networks(len(table), seeds, scale=scale, width=width, embedding=embedding, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(min(seeds))

    def loss(p, members, step):
        z = affine(p["W2"], p["b2"], F.silu(first(p, parts[0][members])))
        logits = affine(p["W3"], p["b3"], F.silu(z))
        value = F.cross_entropy(logits.mT, table.flatten()[parts[0][members]], reduction="none").mean(1)
        drawn = torch.randint(z.shape[1], (2, pairs), generator=generator).to(device)
        return value + strength * PENALTIES[penalty](p, z, drawn)

    @torch.no_grad()
    def record(step, problem):
        p = problem.parameters if penalty != "none" else _named(problem)
        logp = tail(p, 2, "logprob")(points(p, 2))
        rows = [[torch.take_along_dim(t, part, 1).mean(1) for part in parts] for t in _outcomes(logp, table.flatten())]
        norm = torch.stack([t.double().square().flatten(1).sum(1) for t in p.values()]).sum(0).sqrt()
        return {k: t.cpu() for k, t in p.items()}, *(torch.stack(r, 1).cpu() for r in rows), norm.cpu()

    problem = Differentiable(loss, start)
    if penalty == "none":
        sizes = (2 * embedding, width, width, len(table))
        seen = torch.stack([parts[0] // len(table), parts[0] % len(table)], 2)
        weight = torch.full_like(parts[0], 1, dtype=dtype) / parts[0].shape[1]
        y = table.flatten()[parts[0]]
        problem = Embedded(problem.theta, len(table), embedding, ((len(seeds), sizes),), seen, y, weight)
    run = train(problem, AdamW(rate, decay, betas=betas), steps, at=at, record=record, progress=progress)
    parameters, losses, accuracies, norms = zip(*run.records, strict=True)
    return History(
        run.steps,
        {name: torch.stack([p[name] for p in parameters]) for name in start},
        torch.stack(losses),
        torch.stack(accuracies),
        torch.stack(norms),
        device,
    )


def _named(problem):
    """The parameters of an `Embedded` problem by the names that `networks` gives them."""
    [(points, layers)] = problem.unpack()
    return {"E": points} | {f"{n}{k}": t for k, layer in enumerate(layers, 1) for n, t in zip("Wb", layer, strict=True)}


def _outcomes(logp, y):
    """Cross-entropy and correctness of each answer, both (S, N)."""
    return -logp[:, torch.arange(len(y), device=y.device), y], (logp.argmax(2) == y).to(logp)


# ---- what a chapter measures on trained networks -------------------------------------------------------------------------


def subset(total, count, seed=0):
    """`count` of the `total` inputs (all, if there are no more), drawn without replacement: int64, ascending."""
    check("count", count, int, low=2)
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def _shared(p, inputs):
    """Inputs (N,) for every member, (S, N), where the parameters are; None stays None."""
    return None if inputs is None else inputs.to(p["E"].device).expand(len(p["E"]), -1)


@torch.no_grad()
def mapping_matrix(p, inputs=None, *, cut=1, output="logits"):
    """L of the network from `cut` on (see `tail`), (S, N, N) float64, on the given inputs (N,) int64 or on all."""
    x = points(p, cut, _shared(p, inputs))
    return matrix(linearity(tail(p, cut, output), x), x.shape[1])


@torch.no_grad()
def measures(p, inputs=None):
    """Measures of complexity of the first hidden layer's tail: a dict of tensors (S,), float64, on the CPU.

    "LMN" and "collision" count mappings by the entropy and the collision entropy of L's spectrum, "nonlinearity" is
    1 - mean L_ij over pairs, "Jacobian" the count of `jacobian_lmn`.
    """
    L, z = mapping_matrix(p, inputs), points(p, 1, _shared(p, inputs))
    found = {
        "LMN": lmn(L),
        "collision": renyi2(L),
        "nonlinearity": nonlinearity(L),
        "Jacobian": jacobian_lmn(z, p["W2"], p["W3"]),
    }
    return {name: t.cpu() for name, t in found.items()}


def follow(history, inputs=None, progress=iter):
    """`measures` at every recorded step, and there also the "test loss" and the "norm": a dict of tensors (T, S)."""
    rows = [measures(history.networks(step), inputs) for step in progress(history.steps.tolist())]
    curves = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return curves | {"norm": history.norms, "test loss": history.losses[:, :, 1].double()}


def phase(history, memorised=0.999, generalised=0.99):
    """The compression phase: a mask (T, S) of the steps at which a member has memorised and not long since generalised.

    It starts at the first step with that accuracy on training inputs and ends with the first one with that accuracy on
    test inputs, or with the last step if there is none.
    """
    start, end = history.reached(memorised, "training"), history.reached(generalised, "test")
    steps = history.steps.unsqueeze(1)
    return (start >= 0) & (steps >= start) & (steps <= torch.where(end < 0, steps.max(), end))


def fits(x, y, mask):
    """r² of a straight line through the points (x, y) in `mask`, one line a member; all (T, S), the result (S,)."""
    weight = mask.double()
    dx, dy = (v - (v * weight).sum(0) / weight.sum(0) for v in (x, y))
    return (dx * dy * weight).sum(0).square() / ((dx.square() * weight).sum(0) * (dy.square() * weight).sum(0))


def cluster_order(L, clusters=10, seed=0):
    """The order of rows of L (N, N) that puts its spectral clusters side by side, as the paper shows it."""
    model = SpectralClustering(min(clusters, len(L) - 1), affinity="precomputed", random_state=seed)
    return torch.from_numpy(model.fit_predict(L.clamp_min(0).numpy())).argsort(stable=True)


def shuffle(L, seed=0):
    """L (N, N) with its off-diagonal entries permuted at random, symmetric as before: what no structure looks like."""
    i, j = torch.triu_indices(len(L), len(L), 1)
    order = torch.randperm(len(i), generator=torch.Generator().manual_seed(seed))
    return matrix(L[i, j][order][None], len(L))[0]


@torch.no_grad()
def pattern_distances(p, bits=5):
    """How far apart a network for exclusive or holds bit patterns that have the same answer: two ratios, (2, S).

    Turning bit k of both operands around swaps (0,1) with (1,0), or (0,0) with (1,1), and keeps the answer. The ratios are
    root mean square distances at what enters the second hidden layer, over those of inputs with one operand's bit turned
    around, which changes the answer: first for (0,1) and (1,0), then for (0,0) and (1,1).
    """
    z = points(p, 1).double()
    a, b = torch.arange(4**bits) // 2**bits, torch.arange(4**bits) % 2**bits
    unlike, like, turned = [], [], []
    for k in range(bits):
        both, one = (a ^ 1 << k) * 2**bits + (b ^ 1 << k), ((a ^ 1 << k) * 2**bits + b, a * 2**bits + (b ^ 1 << k))
        differ = (a ^ b) >> k & 1 == 1
        distance = (z[:, both] - z).square().sum(2)
        unlike.append(distance[:, differ]), like.append(distance[:, ~differ])
        turned += [(z[:, other] - z).square().sum(2) for other in one]
    scale = torch.cat(turned, 1).mean(1)
    return torch.stack([(torch.cat(d, 1).mean(1) / scale).sqrt() for d in (unlike, like)])


@torch.no_grad()
def tied_outputs(p, inputs, width=0.1):
    """Outputs that are equal at both ends of a segment: their share, and their share of all nonlinearity; two floats.

    Equal means closer than `width` standard deviations of all outputs. Over pairs of `inputs` (N,) and outputs of the one
    network `p` (1, …), from its first hidden layer on, the second share is Σ (1 - r²) over equal ones through Σ (1 - r²).
    """
    z = points(p, 1, _shared(p, inputs))
    y = tail(p, 1)(z)[0]
    W, b = p["W3"][0].unsqueeze(2), p["b3"][0].reshape(-1, 1, 1)  # each output as a member of its own
    bent = 1 - linearity(lambda s: torch.baddbmm(b, F.silu(s), W), z.expand(len(W), -1, -1), block=64).T
    i, j = torch.triu_indices(len(y), len(y), 1)
    tied = (y[i] - y[j]).abs() < width * y.std()
    return tied.double().mean().item(), (bent[tied].sum() / bent.sum()).item()


def fold(x, creases=((1.0, 0.35, 0.25), (-0.3, 1.0, 0.2))):
    """A sheet of paper folded flat: points (…, 2) to (…, 2), piecewise linear.

    Each crease (nx, ny, c) is a line n·x = c |n|; what lies beyond it is reflected back, one crease after the other.
    """
    for nx, ny, c in creases:
        n = torch.tensor([nx, ny], dtype=x.dtype) / (nx * nx + ny * ny) ** 0.5
        x = x - 2 * (x @ n - c).clamp_min(0).unsqueeze(-1) * n
    return x
