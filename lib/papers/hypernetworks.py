"""Liao, Liu and Tegmark, "Generating Interpretable Networks using Hypernetworks" (arXiv:2312.03051).

A *network* here is f(x) = Σ_j w_j s(Σ_i W_ji x_i) with s(z) = z sigmoid(z): n inputs, h hidden neurons, no biases; W is
(…, h, n), w is (…, h). A *hypernetwork* makes such networks: it maps a price of complexity β and noise to (W, w), h = 3n.
The paper's own hypernetwork was not available; this one is a reconstruction from its named ingredients.

Axes: members (hypernetworks) first, then values of β, then the axes of a network.
"""

import functools
import math
from dataclasses import dataclass

import networkx
import torch
import torch.nn.functional as F

from ..checks import check
from ..kernels.optimisers import Adam, cosine
from ..kernels.problems import Differentiable, unpack
from ..kernels.tensors import check_tensor
from ..kernels.training import train

SLOTS = 3  # hidden neurons owned by each input
CHANNELS, HEADS, FEATURES = 16, 2, 6  # of the generator: edge channels, attention heads, functions of β
LOW, HIGH = -7.0, 0.0  # log10 of the range of β
LABELS = ("not trained", "convexity", "pudding +", "pudding −", "double-sided")
UNTRAINED, CONVEXITY, PLUS, MINUS, DOUBLE = range(5)
HELD_OUT = 1 << 30  # the "step" whose draws only evaluation sees

TARGETS = {
    "L1 norm": lambda x: x.abs().sum(-1),
    "L2 norm": lambda x: x.square().sum(-1).sqrt(),
    "sum of positive parts": lambda x: x.relu().sum(-1),
    "largest entry": lambda x: x.amax(-1),
}


# ---- tasks and networks --------------------------------------------------------------------------------------------------


def normal(*shape, seed, device="cpu"):
    """Standard normal float32 numbers of the given shape, the same for the same `seed`."""
    rng = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, generator=rng, device=device)


@functools.cache
def variance(target, n):
    """Variance of a target under x ~ N(0, I_n): n (1 - 2/π) for the L1 norm, else over 2^17 fixed draws."""
    if target == "L1 norm":
        return n * (1 - 2 / math.pi)
    return TARGETS[target](normal(1 << 17, n, seed=1)).double().var().item()


def outputs(W, w, x):
    """What networks (…, h, n), (…, h) say at the points x (…, N, n): (…, N)."""
    return (F.silu(x @ W.mT) @ w[..., None])[..., 0]


def misfit(f, x, target="L1 norm", fit=False):
    """ε = E(f - y)² / Var y of outputs f (…, N) at points x (N, n) or (…, N, n): shape (…,).

    With `fit`, f is first multiplied by the factor that makes ε least.
    """
    y = TARGETS[target](x)
    if fit:
        f = f * ((f * y).sum(-1) / f.square().sum(-1))[..., None]
    return (f - y).square().mean(-1) / variance(target, x.shape[-1])


def error(W, w, x, target="L1 norm", fit=False):
    """`misfit` of networks W (…, h, n), w (…, h): shape (…,)."""
    return misfit(outputs(W, w, x), x, target, fit)


def double_sided(n, gain=10.0):
    """|x| = ReLU(x) + ReLU(-x) for every input: W (2n, n), w (2n,), float64. Exact as `gain` grows."""
    eye = torch.eye(n, dtype=torch.float64)
    return torch.cat([gain * eye, -gain * eye]), torch.full((2 * n,), 1 / gain, dtype=torch.float64)


def pudding(n, sign=1, gain=10.0, flat=1e4):
    """‖x‖₁ = 2 Σ ReLU(σx_i) - σ Σ x_i with n + 1 neurons: W (n + 1, n), w (n + 1,), float64.

    The last neuron is the linear term, 2K s(-σS/K) -> -σS for large K = `flat`.
    """
    plums = sign * gain * torch.eye(n, dtype=torch.float64)
    W = torch.cat([plums, torch.full((1, n), -sign / flat, dtype=torch.float64)])
    return W, torch.tensor([2 / gain] * n + [2 * flat], dtype=torch.float64)


def plums(n, share, sign=1, gain=100.0):
    """Pudding without the extra neuron: rows σ C (δ_ji - λ/n) for λ = `share`, a number or (L,): W (…, n, n), w (…, n).

    At λ = 1 this is the L1 norm of the mean-subtracted vector (this chapter's own identity).
    """
    share = torch.as_tensor(share, dtype=torch.float64)[..., None, None]
    W = sign * gain * (torch.eye(n, dtype=torch.float64) - share / n)
    return W, torch.full(W.shape[:-1], 2 / gain, dtype=torch.float64)


def convex(n, neurons, copies=1, seed=0, gain=10.0):
    """Random rows: W (copies, neurons, n) normal, w (copies, neurons) equal; float64. The scale of w is to be fitted."""
    W = gain * normal(copies, neurons, n, seed=seed).double()
    return W, torch.full(W.shape[:-1], 1 / (gain * neurons), dtype=torch.float64)


# ---- which algorithm is it? ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Orders:
    """Order parameters of networks, each (…,): this chapter's definitions, after the names the paper uses.

    Attributes:
        strongest: share of a row's square in its largest entry, weighted by importance; 1 for rows with one entry.
        sign: mean sign of the largest entries, weighted by importance.
        doubled: 1 if every input is read with both signs equally, 0 if with one.
        redraw: 1 - correlation of the weights with those of a second draw of the noise.
    """

    strongest: torch.Tensor
    sign: torch.Tensor
    doubled: torch.Tensor
    redraw: torch.Tensor


def orders(W, w, other):
    """`Orders` of networks W (…, h, n), w (…, h), whose second draw has the weights `other` (…, h, n).

    A row's importance is |w_j| ‖W_j‖, and the input of its largest entry is its owner.

    Raises:
        ValueError: for tensors that do not fit together.
    """
    check_tensor("W", W)
    if W.shape[:-1] != w.shape or W.shape != other.shape:
        here = f"w, other = tensors of shapes {tuple(w.shape)}, {tuple(other.shape)}"
        raise ValueError(f"{here}: expected {tuple(W.shape[:-1])}, {tuple(W.shape)}")
    owner = W.abs().argmax(-1, keepdim=True)
    top, norm = W.gather(-1, owner)[..., 0], W.norm(dim=-1)
    importance = w.abs() * norm
    importance = importance / importance.sum(-1, keepdim=True)
    pull = torch.zeros_like(W).scatter(-1, owner, (w * top).abs()[..., None])
    up, down = ((pull * (top * side > 0)[..., None]).sum(-2) for side in (1, -1))
    doubled = 2 * torch.minimum(up, down) / (up + down).clamp(min=1e-12)
    a, b = (v.flatten(-2) - v.mean((-2, -1))[..., None] for v in (W, other))
    return Orders(
        (importance * (top / norm.clamp(min=1e-12)).square()).sum(-1),
        (importance * top.sign()).sum(-1),
        doubled.mean(-1),
        1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12),
    )


def classify(eps, orders):
    """Indices into `LABELS`, (…,), from error and `Orders`: bad, else random, else two-sided, else one of two signs."""
    label = torch.where(orders.sign > 0, PLUS, MINUS)
    label = label.masked_fill(orders.doubled >= 0.5, DOUBLE)
    label = label.masked_fill(orders.redraw > 0.5, CONVEXITY)
    return label.masked_fill(~(eps <= 1), UNTRAINED)


def merge_linear(W, w):
    """A pudding with the slot that holds its linear term as one neuron, and without that slot: (W, w) twice.

    Hidden neurons come slot by slot, n to a slot. That slot is the one whose summed weights go most against the plums; the
    one neuron has its mean row and its summed output weight.
    """
    n = W.shape[-1]
    slots, out = W.unflatten(0, (-1, n)), w.unflatten(0, (-1, n))
    pull = (slots.diagonal(dim1=1, dim2=2) * out).mean(1)
    flat = (slots.sum(-1) * out).mean(1) * pull.sum().sign()
    k = int(flat.argmin())
    keep = [i for i in range(len(slots)) if i != k]
    rest, weights = slots[keep].flatten(0, 1), out[keep].flatten()
    merged = torch.cat([rest, slots[k].mean(0, keepdim=True)]), torch.cat([weights, out[k].sum()[None]])
    return merged, (rest, weights)


def layout(W, w, seed=0):
    """Force-directed positions (n + h + 1, 2) of a network's inputs, hidden neurons and output, joined by springs |weight|.

    Weights below 3 % of the largest of their layer are no edges.
    """
    h, n = W.shape
    graph = networkx.empty_graph(n + h + 1)
    first, last = (v.abs() / v.abs().max().clamp(min=1e-12) for v in (W, w))
    graph.add_weighted_edges_from((i, n + j, first[j, i].item()) for j in range(h) for i in range(n) if first[j, i] > 0.03)
    graph.add_weighted_edges_from((n + j, n + h, 0.3 * last[j].item()) for j in range(h) if last[j] > 0.03)
    places = networkx.spring_layout(graph, seed=seed, iterations=150, k=1.2 / math.sqrt(n + h + 1))
    return torch.stack([torch.from_numpy(places[node]) for node in range(n + h + 1)])


# ---- the hypernetwork ----------------------------------------------------------------------------------------------------


def shapes(code):
    """The weights of one generator whose address code has `code` numbers: a dict of shapes, 1715 numbers for 6."""
    z, c, heads = code + 2, CHANNELS, HEADS
    return {
        "Q": (z, heads * code), "E0": (3 * heads + 1, c), "U0": (z, c), "V0": (z, c), "b0": (c,), "G": (2, c),
        "E1": (c, c), "A": (c, c), "B": (c, c), "C": (c, c), "V1": (z, c), "b1": (c,),
        "w": (c,), "wb": (1,), "l0": (1,), "wv": (c,), "l1": (1,),
    }  # fmt: skip


def initial(seeds, code=6, gate=1.5, seed=0, device="cpu"):
    """Untrained hypernetworks: a dict of float32 tensors (seeds, …).

    Args:
        seeds: hypernetworks S.
        code: numbers in an address code.
        gate: initial size of the gate, a number or one for each hypernetwork (S,).
        seed: of the initialisation.
        device: where they live.

    Returns:
        `base` (S, P) and `turn` (S, 6, P), the generator's weights and how β turns them; `rate`, `shift` (S, 6), that turn;
        `open`, `close` (S, 2 code + 2), (S, 6, 2 code + 2), the capacities of the channels.
    """
    check("seeds", seeds, int, low=1)
    check("code", code, int, low=2)
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(seeds, *shape, generator=rng)

    parts = {}
    for name, shape in shapes(code).items():
        zero = name in ("b0", "b1", "wb", "l0", "l1")
        parts[name] = torch.zeros(seeds, *shape) if zero else draw(*shape) / math.sqrt(shape[0])
    parts["Q"] = 0.5 * parts["Q"] + 1.2 * torch.eye(code + 2, code).repeat(1, HEADS)
    parts["E0"][:, -1] *= 0.05
    parts["G"] *= torch.as_tensor(gate, dtype=torch.float32).reshape(-1, 1, 1)
    parts["wv"] *= 0.3
    base = torch.cat([part.flatten(1) for part in parts.values()], 1)
    parameters = {
        "base": base,
        "turn": 0.02 * draw(FEATURES, base.shape[1]),
        "rate": 2 * draw(FEATURES),
        "shift": draw(FEATURES),
        "open": torch.ones(seeds, 2 * code + 2),
        "close": torch.zeros(seeds, FEATURES, 2 * code + 2),
    }
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def code_of(parameters):
    """Numbers in the address code of these hypernetworks."""
    return parameters["open"].shape[-1] // 2 - 1


def _noise_sizes(n, code):
    """Numbers of noise of each kind for one network: input codes, hidden codes, slots, edges."""
    h = SLOTS * n
    return n * code, h * code, h * 2, h * n


def generate(parameters, beta, addresses, noise):
    """The networks of S hypernetworks at B prices each.

    Args:
        parameters: as from `initial`, (S, …).
        beta: (S, B), prices of a nat.
        addresses: (S, B, n, code), the code of each input, on the sphere of radius √code.
        noise: (S, B, numbers of `_noise_sizes`), standard normal.

    Returns:
        W (S, B, 3n, n), w (S, B, 3n), and the price's object: nats (S, B).
    """
    S, B, n, code = addresses.shape
    h, K = SLOTS * n, S * B
    u = 2 * (beta.log10() - LOW) / (HIGH - LOW) - 1
    phi = torch.tanh(u[..., None] * parameters["rate"][:, None] + parameters["shift"][:, None])
    theta = torch.baddbmm(parameters["base"][:, None], phi, parameters["turn"]).flatten(0, 1)
    sizes = shapes(code)
    p = dict(zip(sizes, unpack(theta, sizes.values()), strict=True))

    raw = torch.baddbmm(parameters["open"][:, None], phi, parameters["close"]) - 2 * u[..., None]
    capacity = (F.softplus(3 * raw) / 3).flatten(0, 1)  # (K, 2 code + 2): of input codes, hidden codes, slots
    signal, blur = (1 - torch.exp(-2 * capacity)).clamp(min=1e-9).sqrt()[:, None], torch.exp(-capacity)[:, None]
    nats = n * capacity[:, :code].sum(1) + h * capacity[:, code:].sum(1)

    address = addresses.flatten(0, 1)
    angle = torch.arange(SLOTS, dtype=beta.dtype, device=beta.device) * (2 * math.pi / SLOTS)
    slot_code = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1).repeat_interleave(n, 0)
    clean = torch.cat([address.repeat(1, SLOTS, 1), slot_code.expand(K, h, 2)], 2)
    ins, hid, slots, edges = noise.flatten(0, 1).split(_noise_sizes(n, code), 1)
    z_in = signal[..., :code] * address + blur[..., :code] * ins.view(K, n, code)
    z_hid = signal[..., code:] * clean + blur[..., code:] * torch.cat([hid.view(K, h, code), slots.view(K, h, 2)], 2)

    # One graph-transformer layer; everything on edges is (K, channels, h, n).
    query, key = (z @ p["Q"][:, : z.shape[2]] for z in (z_hid, z_in))
    query, key = (v.unflatten(2, (HEADS, code)).transpose(1, 2) for v in (query, key))
    scores = query @ key.mT / math.sqrt(code)
    features = torch.cat([scores, 4 * scores.softmax(3), 4 * scores.softmax(2), edges.view(K, 1, h, n)], 1)
    row = (z_hid @ p["V0"] + p["b0"][:, None]).mT[..., None]
    column = (z_in @ p["U0"][:, :code]).mT[:, :, None]
    gate = 1 + (z_hid[..., code:] @ p["G"]).mT[..., None]
    e = F.silu((p["E0"].mT @ features.flatten(2)).unflatten(2, (h, n)) + row + column) * gate
    over_in, over_hid = e.mean(3), e.mean(2)
    row = (p["A"].mT @ over_in + (z_hid @ p["V1"]).mT + p["b1"][..., None])[..., None]
    column = (p["B"].mT @ over_hid + p["C"].mT @ over_in.mean(2, keepdim=True))[:, :, None]
    e = F.silu((p["E1"].mT @ e.flatten(2)).unflatten(2, (h, n)) + row + column)
    W = 2 * torch.exp(3 * p["l0"]) * ((p["w"][:, None] @ e.flatten(2))[:, 0] + p["wb"])
    w = torch.exp(3 * p["l1"]) * (0.3 + (p["wv"][:, None] @ e.mean(3))[:, 0])
    return W.view(S, B, h, n), w.view(S, B, h), nats.view(S, B)


def sphere(v):
    """The vectors v (…, code), moved to the sphere of radius √code."""
    return v * (math.sqrt(v.shape[-1]) / v.norm(dim=-1, keepdim=True))


def draws(total, *shape, members, seed, step):
    """Standard normal numbers (len(members), *shape) for one step.

    Made for all `total` members, then picked: a member trains in company as it would alone.
    """
    return normal(total, *shape, seed=1_000_003 * seed + step, device=members.device)[members]


def objective(parameters, members, step, *, steps, dims, target, seed, total, betas=3, batch=64):
    """What a hypernetwork minimises, (members,), at the draws of `step`; without one, its loss l = ε + β nats on `HELD_OUT`.

    Every member makes a network at `betas` prices, one in each equal part of the range of log β. Minimised is the mean of
    l / (l + 0.02), its denominator held fixed, so that every price counts alike. κ grows from 0 to 1 between 15 % and 45 %
    of `steps`. The input dimension is one of `dims`, the same for all.
    """
    report, step = step is None, HELD_OUT if step is None else step
    n, code = dims[step * 7919 % 10007 % len(dims)], code_of(parameters)
    sizes = (batch * n, n * code, sum(_noise_sizes(n, code)), 1)
    drawn = draws(total, betas, sum(sizes), members=members, seed=seed, step=step).to(parameters["base"].dtype)
    x, addresses, noise, place = drawn.split(sizes, 2)
    places = torch.arange(betas, device=members.device) + torch.special.ndtr(place[..., 0])  # uniform in each part
    beta = 10 ** (LOW + (HIGH - LOW) * places / betas)
    W, w, nats = generate(parameters, beta, sphere(addresses.unflatten(2, (n, code))), noise)
    warm = min(max((step / steps - 0.15) / 0.3, 0.0), 1.0)
    loss = error(W, w, x.unflatten(2, (batch, n)), target) + warm * beta * nats
    return loss.mean(1) if report else (loss / (loss.detach() + 0.02)).mean(1)


def fit(seeds, steps, dims, *, code=6, gate=1.5, target="L1 norm", seed=0, device="cpu", at=(), record=None, progress=iter):
    """Train `seeds` hypernetworks together.

    Adam at 6e-3, warmed up over 50 steps and falling to a twentieth along a cosine; each member's gradient is clipped at 5.

    Args:
        seeds: hypernetworks.
        steps: updates.
        dims: input dimensions to train on.
        code, gate: see `initial`.
        target: name in `TARGETS`.
        seed: of initialisation and draws.
        device: where to train.
        at, record, progress: see `lib.kernels.training.train`; `record` is called with (step, parameters).

    Returns:
        The trained parameters and the list of records.

    Raises:
        ValueError: for a bad argument.
    """
    check("steps", steps, int, low=1)
    check("dims", dims, [int], low=2)
    check("target", target, set(TARGETS))
    loss = functools.partial(objective, steps=steps, dims=tuple(dims), target=target, seed=seed, total=seeds)
    problem = Differentiable(loss, initial(seeds, code, gate, seed, device))
    fall = cosine(steps, 0.05)
    optimiser = Adam(6e-3, clip=5.0, schedule=lambda t: min(1.0, (t + 1) / 50) * fall(t))
    look = record and (lambda step, problem: record(step, problem.parameters))
    run = train(problem, optimiser, steps, at=at, record=look, progress=progress)
    return run.problem.parameters, run.records


@dataclass(frozen=True)
class Survey:
    """The networks that S hypernetworks make at B values of β.

    Attributes:
        beta: (B,).
        W, w: networks, (draws, S, B, h, n), (draws, S, B, h): the same codes, new noise for each draw.
        nats: what the networks' descriptions cost, (S, B).
        eps: error of the first draw, (S, B).
        orders: `Orders`, each (S, B), from the first two draws.
    """

    beta: torch.Tensor
    W: torch.Tensor
    w: torch.Tensor
    nats: torch.Tensor
    eps: torch.Tensor
    orders: Orders

    @property
    def labels(self):
        """Indices into `LABELS`, (S, B)."""
        return classify(self.eps, self.orders)

    @property
    def doubles(self):
        """Which networks are double-sided, a mask (S, B)."""
        return self.labels == DOUBLE

    @property
    def puddings(self):
        """Which networks are puddings, of either sign, a mask (S, B)."""
        return (self.labels == PLUS) | (self.labels == MINUS)

    @property
    def free(self):
        """What each network costs in all, ε + β nats, (S, B)."""
        return self.eps + self.beta * self.nats

    def shares(self):
        """Share of each label, (B, labels)."""
        return F.one_hot(self.labels, len(LABELS)).double().mean(0)


@torch.no_grad()
def survey(parameters, n, beta, *, draws=2, points=1000, target="L1 norm", seed=0):
    """Let every hypernetwork make networks of `n` inputs at every price in `beta`; a `Survey`."""
    check("n", n, int, low=2)
    check("draws", draws, int, low=2)
    base = parameters["base"]
    S, B, code, device = len(base), len(beta), code_of(parameters), base.device
    prices = torch.as_tensor(beta, dtype=torch.float32, device=device).expand(S, B)
    addresses = sphere(normal(S, 1, n, code, seed=seed + 1, device=device)).expand(S, B, n, code)
    noise = normal(draws, S, B, sum(_noise_sizes(n, code)), seed=seed + 2, device=device)
    made = [generate(parameters, prices, addresses, draw) for draw in noise]
    W, w = torch.stack([m[0] for m in made]), torch.stack([m[1] for m in made])
    eps = error(W[0], w[0], normal(points, n, seed=seed + 3, device=device), target)
    found = orders(W[0], w[0], W[1])
    found = Orders(found.strongest.cpu(), found.sign.cpu(), found.doubled.cpu(), found.redraw.cpu())
    return Survey(prices[0].cpu(), W.cpu(), w.cpu(), made[0][2].cpu(), eps.cpu(), found)


def surgery(survey, b, seed=0):
    """ε of every pudding at the price with index b: whole, after `merge_linear`, and without that slot: (puddings, 3)."""
    x, rows = normal(4000, survey.W.shape[-1], seed=seed), []
    for s in torch.nonzero(survey.puddings[:, b]).flatten():
        W, w = survey.W[0, s, b], survey.w[0, s, b]
        rows.append([error(*network, x).item() for network in ((W, w), *merge_linear(W, w))])
    return torch.tensor(rows).view(-1, 3)


def likeness(W, w, x):
    """Correlation of the outputs of networks W (K, h, n), w (K, h) at x (N, n) with the L1 and the L2 norm: (2, K)."""
    said = outputs(W, w, x)
    norms = [TARGETS[name](x)[None] for name in ("L1 norm", "L2 norm")]
    return torch.stack([torch.corrcoef(torch.cat([norm, said]))[0, 1:] for norm in norms])


def crossing(x, gap):
    """Where `gap` (K,) first rises through zero, between the points x (K,), by a straight line; NaN if it does not."""
    k = next((k for k in range(1, len(gap)) if gap[k - 1] <= 0 < gap[k]), None)
    return math.nan if k is None else float(x[k - 1] + (x[k] - x[k - 1]) * gap[k - 1] / (gap[k - 1] - gap[k]))


def prices(count):
    """`count` values of β, evenly spaced in the logarithm over the range, ascending."""
    return torch.logspace(LOW, HIGH, count).tolist()


# ---- ordinary training ---------------------------------------------------------------------------------------------------


def train_directly(rates, seeds, steps, n=16, *, seed=0, device="cpu", progress=iter):
    """Networks with 3n hidden neurons trained by Adam on fresh inputs, `seeds` for each learning rate.

    Weights start as N(0, 1/fan-in); the rate falls to a twentieth along a cosine; a step sees 128 inputs.

    Returns:
        W (rates, seeds, 3n, n), w (rates, seeds, 3n) and ε (rates, seeds).
    """
    check("rates", rates, [float], above=0)
    check("seeds", seeds, int, low=1)
    total, h = len(rates) * seeds, SLOTS * n

    def loss(parameters, members, step):
        x = draws(total, 128, n, members=members, seed=seed, step=HELD_OUT if step is None else step)
        return error(parameters["W"], parameters["w"], x)

    start = {"W": normal(total, h, n, seed=seed) / math.sqrt(n), "w": normal(total, h, seed=seed + 1) / math.sqrt(h)}
    problem = Differentiable(loss, {name: t.to(device) for name, t in start.items()})
    rate = torch.tensor(rates).repeat_interleave(seeds).to(device)
    found = train(problem, Adam(rate, schedule=cosine(steps, 0.05)), steps, progress=progress).problem.parameters
    eps = error(found["W"], found["w"], normal(4096, n, seed=seed + 2, device=device))
    return tuple(t.cpu().unflatten(0, (len(rates), seeds)) for t in (found["W"], found["w"], eps))


@dataclass(frozen=True)
class Spins:
    """Which sign each input of a network is read with, (…, n) or (…,).

    Attributes:
        sign: the stronger sign among neurons that read one input (with over half of their square on it); 0 for none.
        doubled: the weaker sign's share of the pull, times 2: 0 for one-sided, 1 for two-sided inputs.
        background: cosine of the angle between the summed weights of all other neurons and minus `sign`.
    """

    sign: torch.Tensor
    doubled: torch.Tensor
    background: torch.Tensor


def spins(W, w):
    """`Spins` of networks W (…, h, n), w (…, h)."""
    owner = W.abs().argmax(-1, keepdim=True)
    top = W.gather(-1, owner)[..., 0]
    plum = top.square() > 0.5 * W.square().sum(-1)
    pull = torch.zeros_like(W).scatter(-1, owner, (w * top * plum)[..., None])
    up, down = pull.clamp(min=0).sum(-2), -pull.clamp(max=0).sum(-2)
    sign = (up - down).sign()
    rest = ((w * ~plum)[..., None] * W).sum(-2)
    doubled = 2 * torch.minimum(up, down) / (up + down).clamp(min=1e-12)
    return Spins(sign, doubled, F.cosine_similarity(rest, -sign, dim=-1))
