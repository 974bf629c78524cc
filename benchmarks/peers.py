"""The implementations under comparison. Each is a function (problem, members, device) giving a function of the steps.

All train `members` networks by Adam at rate 1e-3 on the same data in float32, from random parameters.
"""

import functools
from itertools import pairwise

import torch
from torch import nn

RATE = 1e-3
PRICE = 1e-4  # of a unit of weight, for "rate"
CLASSES = ("minibatches", "embedding", "rate")  # learn by the cross-entropy


class Recurrent(nn.Module):
    """h_t = f([h_{t-1}, x_t]), y_t = g(h_t)."""

    def __init__(self, transition, readout):
        super().__init__()
        self.f, self.g = chain(transition, nn.ReLU), chain(readout, nn.ReLU)

    def forward(self, x):
        h, outputs = x.new_zeros(len(x), self.g[0].in_features), []
        for t in range(x.shape[1]):
            h = self.f(torch.cat([h, x[:, t]], 1))
            outputs.append(self.g(h))
        return torch.stack(outputs, 1)


def chain(sizes, activation):
    layers = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), activation()]
    return nn.Sequential(*layers[:-1])


class Rate(Recurrent):
    """h_t = relu(f([h_{t-1}, x_t]) + noise), y_t = g(h_t)."""

    def forward(self, x):
        h, outputs = x.new_zeros(len(x), self.g[0].in_features), []
        for t in range(x.shape[1]):
            h = torch.relu(self.f(torch.cat([h, x[:, t]], 1)) + noise(len(x), h.shape[1], x.device))
            outputs.append(self.g(h))
        return torch.stack(outputs, 1)


class Pairs(nn.Module):
    """An MLP on two learned points."""

    def __init__(self, sizes):
        super().__init__()
        self.points = nn.Parameter(torch.randn(sizes[-1], sizes[0] // 2))
        self.decoder = chain(sizes, nn.SiLU)

    def forward(self, x):
        return self.decoder(self.points[x].flatten(1))


@functools.cache
def noise(rows, units, device):
    """What is added to every unit's input; the same at all times, so that drawing it is not what is timed."""
    return 0.05 * torch.randn(rows, units, generator=torch.Generator().manual_seed(1)).to(device)


def network(problem):
    kind = {"mlp": nn.SiLU, "minibatches": nn.ReLU}.get(problem.kernel)
    if kind:
        return chain(problem.sizes, kind)
    if problem.kernel == "embedding":
        return Pairs(problem.sizes)
    return (Rate if problem.kernel == "rate" else Recurrent)(problem.sizes, problem.readout)


def loss_of(problem, out, y, parameters):
    if problem.kernel in CLASSES:
        price = PRICE * sum(p.abs().sum() for p in parameters) if problem.kernel == "rate" else 0.0
        return nn.functional.cross_entropy(out.flatten(0, -2), y.flatten()) + price
    r = out - y
    return r.square().mean() if problem.kernel == "mlp" else 0.5 * torch.log1p(r * r).mean()


def batch(problem, x, y):
    """The data of the next step."""
    if problem.kernel != "minibatches":
        return x, y
    rows = torch.randint(len(x), (problem.points,), device=x.device)
    return x[rows] / 255, y[rows]


def loop(problem, members, device):
    """One `nn.Module` and one `torch.optim.Adam` after the other."""
    x, y = problem.data(device)
    nets = [network(problem).to(device) for _ in range(members)]
    optimisers = [torch.optim.Adam(net.parameters(), RATE) for net in nets]

    def run(steps):
        for net, optimiser in zip(nets, optimisers, strict=True):
            for _ in range(steps):
                optimiser.zero_grad()
                inputs, targets = batch(problem, x, y)
                loss_of(problem, net(inputs), targets, net.parameters()).backward()
                optimiser.step()

    return run


def vmap(problem, members, device, compiled=False, captured=False):
    """`torch.func`: gradients of a stack of modules by `vmap(grad)`, one `torch.optim.Adam` for all.

    With `compiled` the gradients go through `torch.compile`; with `captured` a whole step becomes one CUDA graph.
    """
    x, y = problem.data(device)
    base = network(problem).to("meta")
    params, _ = torch.func.stack_module_state([network(problem).to(device) for _ in range(members)])
    optimiser = torch.optim.Adam(params.values(), RATE, capturable=captured)

    def loss(p, x, y):
        return loss_of(problem, torch.func.functional_call(base, p, (x,)), y, p.values())

    if problem.kernel == "rate":
        noise(problem.points, problem.sizes[-1], x.device)  # drawn, and kept, before `vmap` forbids to draw
    gradients = torch.func.vmap(torch.func.grad(loss), (0, None, None))
    if compiled:
        gradients = torch.compile(gradients, dynamic=False)

    def step():
        for name, grad in gradients({k: p.detach() for k, p in params.items()}, *batch(problem, x, y)).items():
            params[name].grad = grad
        optimiser.step()

    if captured:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        step = graph.replay

    def run(steps):
        for _ in range(steps):
            step()

    return run


def jax(problem, members, device):
    """JAX: `vmap` over members, `scan` over steps (and over time), Adam inside, all under one `jit`."""
    import jax as j
    import jax.numpy as np

    x, y = (np.asarray(t.numpy()) for t in problem.data(device))

    def mlp(layers, h, act):
        for depth, (W, b) in enumerate(layers):
            h = (act(h) if depth else h) @ W + b
        return h

    def cross_entropy(out, y):
        return -np.mean(np.take_along_axis(j.nn.log_softmax(out), y[..., None], -1))

    shake = 0.0 if problem.kernel != "rate" else noise(problem.points, problem.sizes[-1], device).numpy()

    def loss(p, t):
        if problem.kernel == "mlp":
            return np.mean((mlp(p["f"], x, j.nn.silu) - y) ** 2)
        if problem.kernel == "minibatches":
            rows = j.random.randint(j.random.fold_in(j.random.key(2), t.astype(int)), (problem.points,), 0, len(x))
            return cross_entropy(mlp(p["f"], x[rows] / 255, j.nn.relu), y[rows])
        if problem.kernel == "embedding":
            return cross_entropy(mlp(p["f"], p["points"][x].reshape(len(x), -1), j.nn.silu), y)

        def step(h, xt):
            h = mlp(p["f"], np.concatenate([h, xt], 1), j.nn.relu)
            h = j.nn.relu(h + shake) if problem.kernel == "rate" else h
            return h, mlp(p["g"], h, j.nn.relu)

        _, out = j.lax.scan(step, np.zeros((problem.points, problem.sizes[-1])), np.swapaxes(x, 0, 1))
        if problem.kernel == "rate":
            price = PRICE * sum(np.abs(w).sum() for w in j.tree.leaves(p))
            return cross_entropy(np.swapaxes(out, 0, 1), y) + price
        return np.mean(0.5 * np.log1p((np.swapaxes(out, 0, 1) - y) ** 2))

    def layers(key, sizes):
        keys = j.random.split(key, len(sizes) - 1)
        return [
            (j.random.uniform(k, (members, i, o), minval=-1) * i**-0.5, np.zeros((members, o)))
            for k, i, o in zip(keys, sizes, sizes[1:], strict=False)
        ]

    params = {"f": layers(j.random.key(0), problem.sizes), "g": layers(j.random.key(1), problem.readout or (1,))}
    if problem.kernel == "embedding":
        params["points"] = j.random.normal(j.random.key(3), (members, problem.sizes[-1], problem.sizes[0] // 2))
    zeros = j.tree.map(np.zeros_like, params)

    def update(p, m, v, t):
        g = j.grad(loss)(p, t)
        m = j.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = j.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        p = j.tree.map(lambda p, m, v: p - RATE * (m / c1) / (np.sqrt(v / c2) + 1e-8), p, m, v)
        return p, m, v

    @j.jit
    def many(state, times):
        def step(state, t):
            return j.vmap(update, (0, 0, 0, None))(*state, t), None

        return j.lax.scan(step, state, times)[0]

    def run(steps):
        j.block_until_ready(many((params, zeros, zeros), np.arange(1.0, steps + 1)))

    return run


def ours(problem, members, device):
    """This book's kernels."""
    from lib.kernels.embedding import Embedded
    from lib.kernels.mlp import Minibatches, Regression, random_stack
    from lib.kernels.optimisers import Adam
    from lib.kernels.rate import Packed, RateNetworks, RateTraining
    from lib.kernels.rnn import Sequences, random_recurrent
    from lib.kernels.training import train

    x, y = problem.data(device)
    sizes, own = problem.sizes, (members, *[-1] * x.dim())
    stack = lambda activation: random_stack(((members, sizes),), activation, seed=0, device=device)  # noqa: E731
    if problem.kernel == "mlp":
        model = Regression(stack("silu"), x, y)
    elif problem.kernel == "minibatches":
        counts, scale = torch.full((members,), len(x)), torch.full(x.shape[1:], 1 / 255)
        data = x.expand(own).contiguous(), y.expand(members, -1).contiguous()
        model = Minibatches(stack("relu"), *data, counts, problem.points, 0, scale, torch.zeros_like(scale))
    elif problem.kernel == "embedding":
        theta = torch.cat([torch.randn(members, sizes[-1] * sizes[0] // 2), stack("silu").theta.view(members, -1)], 1)
        weight = torch.full((members, len(x)), 1 / len(x))
        groups = ((members, sizes),)
        model = Embedded(theta.view(-1), sizes[-1], sizes[0] // 2, groups, x.expand(own), y.expand(members, -1), weight)
    elif problem.kernel == "rate":
        start = random_recurrent(members, sizes, problem.readout, seed=0, device=device).theta.view(members, -1)
        shake = noise(problem.points, sizes[1], device).repeat(problem.length, 1)
        trials = Packed(x.transpose(0, 1).flatten(0, 1), y.T.flatten(), [problem.points] * problem.length, shake)
        stack = RateNetworks(start, sizes[1], sizes[0] - sizes[1], problem.readout[-1])
        model = RateTraining(stack, lambda step: trials, torch.full_like(start, PRICE))
    else:
        model = Sequences(random_recurrent(members, sizes, problem.readout, seed=0, device=device), x, y)
    return lambda steps: train(model, Adam(RATE), steps)


PEERS = {
    "loop": loop,
    "vmap": vmap,
    "graphs": functools.partial(vmap, captured=True),
    "compile": functools.partial(vmap, compiled=True),
    "jax": jax,
    "ours": ours,
}
ON = {"cpu": ("ours", "loop", "jax", "vmap", "compile"), "cuda": ("ours", "loop", "vmap", "graphs", "compile")}
