"""The networks that grok: two tokens, one shared embedding, three linear layers, trained on part of a table of answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.embedding import Embedded
from ...kernels.engines import engine, fused
from ...kernels.mlp import fan_in_start, layer_views
from ...kernels.optimisers import AdamW
from ...kernels.problems import Problem, Stacked, draw_rows
from ...kernels.training import train
from .mappings import jacobian_lmn, linearity, lmn, matrix, nonlinearity

TASKS = {"addition", "s4", "xor"}
SHARE = 0.8  # of the table trained on


def answers(task: str, modulus: int = 31) -> Int[Tensor, "tokens tokens"]:
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


def networks(tokens: int, setting: "Setting") -> dict[str, Tensor]:
    """Parameters of one network a seed, as a dict of tensors (S, …); layers have shape (out, in).

    The embedding is normal with standard deviation `setting.scale`; layers start as PyTorch's default, uniform in
    ±1/sqrt(fan in). A seed gives the same start at every scale, on every device.
    """
    sizes, points, blocks = (2 * setting.embedding, setting.width, setting.width, tokens), [], []
    for seed in setting.seeds:
        generator = torch.Generator().manual_seed(seed)
        points.append(torch.randn(tokens, setting.embedding, generator=generator, dtype=torch.float64))
        blocks.append(fan_in_start(1, [sizes], generator))
    parameters = {"E": torch.stack(points) * setting.scale}
    for depth, (W, b) in enumerate(layer_views(torch.cat(blocks), sizes), start=1):
        parameters |= {f"W{depth}": W, f"b{depth}": b}
    return {name: t.to(setting.device, setting.dtype).contiguous() for name, t in parameters.items()}


def affine(
    W: Float[Tensor, "members out in"], b: Float[Tensor, "members out"], x: Float[Tensor, "members points in"]
) -> Float[Tensor, "members points out"]:
    """x Wᵀ + b for points as rows x (S, K, d)."""
    return torch.baddbmm(b.unsqueeze(1), x, W.mT)


def first(p: dict, inputs: Int[Tensor, "members points"] | None = None) -> Float[Tensor, "members points width"]:
    """What enters the first hidden layer, (S, N, width), for inputs (S, N) int64, numbered aP + b; None for all P²."""
    left, right = (p["E"] @ half.mT for half in p["W1"].chunk(2, 2))
    right = right + p["b1"].unsqueeze(1)
    if inputs is None:
        return (left.unsqueeze(2) + right.unsqueeze(1)).flatten(1, 2)
    members, tokens, _ = left.shape
    start = torch.arange(members, device=left.device).unsqueeze(1) * tokens
    a, b = inputs // tokens + start, inputs % tokens + start
    rows = [t.flatten(0, 1).index_select(0, k.flatten()) for t, k in ((left, a), (right, b))]
    return (rows[0] + rows[1]).unflatten(0, inputs.shape)


def tail(p: dict, cut: int, output: str = "logits") -> Callable:
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


def points(p: dict, cut: int, inputs: Int[Tensor, "members points"] | None = None) -> Float[Tensor, "members points width"]:
    """What `tail(p, cut)` starts from, (S, N, d), for inputs (S, N) as in `first`."""
    z = first(p, inputs)
    for W, b in [(p["W2"], p["b2"]), (p["W3"], p["b3"])][:cut]:
        z = affine(W, b, F.silu(z))
    return z


def split(seeds: list[int], inputs: int) -> tuple[Int[Tensor, "members train"], Int[Tensor, "members test"]]:
    """Which inputs are trained on, a random `SHARE` of them, and which tested; one split a seed."""
    orders = [torch.randperm(inputs, generator=torch.Generator().manual_seed(1000 + seed)) for seed in seeds]
    order, n = torch.stack(orders), round(SHARE * inputs)
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

    steps: Int[Tensor, " records"]
    parameters: dict[str, Tensor]
    losses: Float[Tensor, "records members 2"]
    accuracies: Float[Tensor, "records members 2"]
    norms: Float[Tensor, "records members"]
    device: str = "cpu"

    def at(self, step: int) -> int:
        """Index of the recorded step nearest to `step`."""
        return int((self.steps - step).abs().argmin())

    def networks(self, step: int, member: int | None = None) -> dict[str, Tensor]:
        """The parameters (S, …) at the recorded step nearest to `step`; of one member only, (1, …), if it is named."""
        chosen = slice(None) if member is None else slice(member, member + 1)
        return {name: t[self.at(step), chosen].to(self.device) for name, t in self.parameters.items()}

    def reached(self, accuracy: float, on: str) -> Int[Tensor, " members"]:
        """First recorded step (S,) at which the accuracy `on` "training" or "test" is reached; -1 if it never is."""
        hit = self.accuracies[:, :, ("training", "test").index(on)] >= accuracy
        return torch.where(hit.any(0), self.steps[hit.long().argmax(0)], -1)

    def read(self, values: Float[Tensor, "records members"], steps: Int[Tensor, " members"]) -> Float[Tensor, " members"]:
        """What `values` say of each member at its own one of `steps`, as float64; NaN where that is -1."""
        index = torch.tensor([self.at(step) for step in steps.tolist()])
        found = values.double().gather(0, index[None])[0]
        return found.where(steps >= 0, torch.nan)

    @property
    def memorised(self) -> Int[Tensor, " members"]:
        """First recorded step at which 99.9 % of the training inputs are answered correctly; -1 if there is none."""
        return self.reached(0.999, "training")

    @property
    def generalised(self) -> Int[Tensor, " members"]:
        """First recorded step at which 99 % of the test inputs are answered correctly; -1 if there is none."""
        return self.reached(0.99, "test")

    @property
    def compression(self) -> Int[Tensor, "2 members"]:
        """The steps at which the compression phase starts, having memorised, and ends, having generalised: (2, S).

        Where it never comes to that, the last step.
        """
        found = torch.stack([self.memorised, self.generalised])
        return found.where(found >= 0, self.steps[-1])


def nonlinearity_penalty(
    p: dict, z: Float[Tensor, "members points width"], pairs: Int[Tensor, "2 pairs"]
) -> Float[Tensor, " members"]:
    """Mean nonlinearity 1 - mean L_ij of the first hidden layer's tail on `pairs` of the inputs behind z; (S,)."""

    def f(z):
        return affine(p["W3"], p["b3"], F.silu(z))

    return 1 - linearity(f, z, pairs, order=4, block=pairs.shape[1]).mean(1)


@dataclass(frozen=True)
class Straightened(Stacked):
    """Networks that learn a task and are pushed to be straight: the task's loss with `nonlinearity_penalty` added.

    Attributes:
        stack: the networks with their task, an `Embedded` problem.
        strength: factor on the penalty.
        pairs: pairs of a network's own inputs on which it is taken, drawn afresh at every step, the same for all members.
        seed: of the draws.
        reported: the step on whose draw losses are reported, one that training does not reach.
    """

    stack: Embedded
    strength: float
    pairs: int
    seed: int
    reported: int

    def _penalty(self, p, step):
        at, seen = self.reported if step is None else step, self.stack.pairs
        drawn = draw_rows(self.seed, range(at, at + 1), torch.tensor(2 * [seen.shape[1]]), self.pairs)[0].to(seen.device)
        ends = seen[:, drawn.flatten()]  # first where segments start, then where they end
        z = points(p, 1, ends[..., 0] * self.stack.tokens + ends[..., 1])
        return self.strength * nonlinearity_penalty(p, z, torch.arange(z.shape[1], device=z.device).view(2, -1))

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        return self.stack.losses(step) + self._penalty(_named(self.stack), step)

    def gradient(
        self, theta: Float[Tensor, " total"], step: int | None = None
    ) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"]]:
        """As `Problem.gradient`: the task's part by the kernel that trains without a penalty, the penalty's by autograd."""
        kernel = engine(self.stack, AdamW())
        if kernel == "torch":
            losses, grad = self.stack.gradient(theta)
        else:
            losses, grad = fused(kernel).evaluate(self.stack, theta, gradient=True)
        p = {name: t.detach().requires_grad_() for name, t in _named(self.stack, theta).items()}
        penalty = self._penalty(p, step)
        slopes = torch.autograd.grad(penalty.sum(), list(p.values()))
        for total, slope in zip(_named(self.stack, grad).values(), slopes, strict=True):
            total.add_(slope)
        return losses + penalty.detach(), grad


@dataclass(frozen=True)
class Setting:
    """How networks are trained; the defaults are the paper's.

    Attributes:
        seeds: of start and split, one a member.
        steps: updates. at: those after which to record, beside the last.
        decay, scale: weight decay, and standard deviation of the embedding at the start.
        modulus: of the addition. width, embedding: sizes of hidden layers and embedding.
        rate: AdamW's.
        dtype, device: how precisely and where.
        progress: see `train`.
    """

    seeds: list[int]
    steps: int
    at: list[int] = field(default_factory=list)
    decay: float = 0.2
    scale: float = 1.0
    modulus: int = 31
    width: int = 100
    embedding: int = 32
    rate: float = 1e-3
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    progress: Callable = iter


def grok(task: str, setting: Setting, *, straightening: float = 0.0, pairs: int = 64) -> History:
    """Train one network a seed on `SHARE` of a table, full batch, with AdamW.

    Args:
        task: as for `answers`.
        setting: see `Setting`.
        straightening: factor on `nonlinearity_penalty`, added to the loss and taken on `pairs` pairs of training inputs that
            are drawn afresh at every step.

    Raises:
        ValueError: for a bad argument.
    """
    check("seeds", setting.seeds, [int], low=0)
    check("straightening", straightening, float, low=0)
    check("pairs", pairs, int, low=1)
    table = answers(task, setting.modulus).to(setting.device)
    parts = [part.to(setting.device) for part in split(setting.seeds, table.numel())]
    start = networks(table.shape[0], setting)

    @torch.no_grad()
    def record(step, problem):
        p = _named(problem.stack if straightening else problem)
        logp = tail(p, 2, "logprob")(points(p, 2))
        rows = [[torch.take_along_dim(t, part, 1).mean(1) for part in parts] for t in _outcomes(logp, table.flatten())]
        norm = torch.stack([t.double().square().flatten(1).sum(1) for t in p.values()]).sum(0).sqrt()
        return {k: t.cpu() for k, t in p.items()}, *(torch.stack(r, 1).cpu() for r in rows), norm.cpu()

    theta = torch.cat([t.flatten(1) for t in start.values()], 1).flatten()
    sizes = (2 * setting.embedding, setting.width, setting.width, len(table))
    seen = torch.stack([parts[0] // len(table), parts[0] % len(table)], 2)
    weight = torch.full_like(parts[0], 1, dtype=setting.dtype) / parts[0].shape[1]
    groups, y = ((len(setting.seeds), sizes),), table.flatten()[parts[0]]
    problem: Problem = Embedded(theta, len(table), setting.embedding, groups, seen, y, weight)
    if straightening:
        problem = Straightened(problem, straightening, pairs, min(setting.seeds), setting.steps + 1)
    optimiser = AdamW(setting.rate, setting.decay)
    run = train(problem, optimiser, setting.steps, at=setting.at, record=record, progress=setting.progress)
    parameters, losses, accuracies, norms = zip(*run.records, strict=True)
    return History(
        run.steps,
        {name: torch.stack([p[name] for p in parameters]) for name in start},
        torch.stack(losses),
        torch.stack(accuracies),
        torch.stack(norms),
        setting.device,
    )


def _named(problem, theta=None):
    """Parameters of an `Embedded` problem, its own or packed ones like them, by the names that `networks` gives them."""
    [(points, layers)] = problem.unpack(theta)
    return {"E": points} | {f"{n}{k}": t for k, layer in enumerate(layers, 1) for n, t in zip("Wb", layer, strict=True)}


def _outcomes(logp, y):
    """Cross-entropy and correctness of each answer, both (S, N)."""
    return -logp[:, torch.arange(len(y), device=y.device), y], (logp.argmax(2) == y).to(logp)


# ---- what a chapter measures on trained networks -------------------------------------------------------------------------


def subset(total: int, count: int, seed: int = 0) -> Int[Tensor, " chosen"]:
    """`count` of the `total` inputs (all, if there are no more), drawn without replacement: int64, ascending."""
    check("count", count, int, low=2)
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def _shared(p, inputs):
    """Inputs (N,) for every member, (S, N), where the parameters are; None stays None."""
    return None if inputs is None else inputs.to(p["E"].device).expand(len(p["E"]), -1)


@torch.no_grad()
def mapping_matrix(
    p: dict, inputs: Int[Tensor, " points"] | None = None, *, cut: int = 1, output: str = "logits"
) -> Float[Tensor, "members points points"]:
    """L of the network from `cut` on (see `tail`), (S, N, N) float64, on the given inputs (N,) int64 or on all."""
    x = points(p, cut, _shared(p, inputs))
    return matrix(linearity(tail(p, cut, output), x), x.shape[1])


@torch.no_grad()
def measures(p: dict, inputs: Int[Tensor, " points"] | None = None) -> dict[str, Float[Tensor, " members"]]:
    """Measures of complexity of the first hidden layer's tail: a dict of tensors (S,), float64, on the CPU.

    "LMN" counts mappings, "nonlinearity" is 1 - mean L_ij over pairs, "Jacobian" the count of `jacobian_lmn`.
    """
    L, z = mapping_matrix(p, inputs), points(p, 1, _shared(p, inputs))
    found = {"LMN": lmn(L), "nonlinearity": nonlinearity(L), "Jacobian": jacobian_lmn(z, p["W2"], p["W3"])}
    return {name: t.cpu() for name, t in found.items()}


def follow(
    history: History, inputs: Int[Tensor, " points"] | None = None, progress: Callable = iter
) -> dict[str, Float[Tensor, "records members"]]:
    """`measures` at every recorded step, and there also the "test loss" and the "norm": a dict of tensors (T, S)."""
    rows = [measures(history.networks(step), inputs) for step in progress(history.steps.tolist())]
    curves = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return curves | {"norm": history.norms, "test loss": history.losses[:, :, 1].double()}


def phase(history: History) -> Bool[Tensor, "records members"]:
    """The compression phase as a mask (T, S) of the recorded steps; empty for a member that never memorises."""
    (start, end), steps = history.compression, history.steps.unsqueeze(1)
    return (history.memorised >= 0) & (steps >= start) & (steps <= end)


@torch.no_grad()
def straight_answers(
    p: dict, task: str, inputs: Int[Tensor, "members points"], modulus: int = 31
) -> Float[Tensor, " members"]:
    """Share of the inputs answered as the table says if the first hidden layer's tail is replaced by an affine map.

    The map is fitted to the tail's logits on these inputs by least squares, in float64. This chapter's own.
    """
    inputs = inputs.to(p["E"].device)
    z = points(p, 1, inputs)
    logits, z = tail(p, 1)(z).double().cpu(), z.double().cpu()
    X = torch.cat([z, torch.ones_like(z[..., :1])], 2)
    fitted = X @ torch.linalg.lstsq(X, logits, driver="gelsd").solution
    return (fitted.argmax(2) == answers(task, modulus).flatten()[inputs.cpu()]).double().mean(1)
