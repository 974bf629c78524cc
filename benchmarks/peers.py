"""The implementations under comparison. Each is a function (problem, members, device) giving a function of the steps.

All train `members` networks by Adam at rate 1e-3 on the same data in float32, from random parameters.
"""

import functools
from itertools import pairwise

import torch
from torch import nn

RATE = 1e-3


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


def network(problem):
    return chain(problem.sizes, nn.SiLU) if problem.kernel == "mlp" else Recurrent(problem.sizes, problem.readout)


def loss_of(problem, out, y):
    r = out - y
    return r.square().mean() if problem.kernel == "mlp" else 0.5 * torch.log1p(r * r).mean()


def loop(problem, members, device):
    """One `nn.Module` and one `torch.optim.Adam` after the other."""
    x, y = problem.data(device)
    nets = [network(problem).to(device) for _ in range(members)]
    optimisers = [torch.optim.Adam(net.parameters(), RATE) for net in nets]

    def run(steps):
        for net, optimiser in zip(nets, optimisers, strict=True):
            for _ in range(steps):
                optimiser.zero_grad()
                loss_of(problem, net(x), y).backward()
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

    def loss(p):
        return loss_of(problem, torch.func.functional_call(base, p, (x,)), y)

    gradients = torch.func.vmap(torch.func.grad(loss))
    if compiled:
        gradients = torch.compile(gradients, dynamic=False)

    def step():
        for name, grad in gradients({k: p.detach() for k, p in params.items()}).items():
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

    def loss(p):
        if problem.kernel == "mlp":
            return np.mean((mlp(p["f"], x, j.nn.silu) - y) ** 2)

        def step(h, xt):
            h = mlp(p["f"], np.concatenate([h, xt], 1), j.nn.relu)
            return h, mlp(p["g"], h, j.nn.relu)

        _, out = j.lax.scan(step, np.zeros((problem.points, problem.sizes[-1])), np.swapaxes(x, 0, 1))
        return np.mean(0.5 * np.log1p((np.swapaxes(out, 0, 1) - y) ** 2))

    def layers(key, sizes):
        keys = j.random.split(key, len(sizes) - 1)
        return [
            (j.random.uniform(k, (members, i, o), minval=-1) * i**-0.5, np.zeros((members, o)))
            for k, i, o in zip(keys, sizes, sizes[1:], strict=False)
        ]

    params = {"f": layers(j.random.key(0), problem.sizes), "g": layers(j.random.key(1), problem.readout or (1,))}
    zeros = j.tree.map(np.zeros_like, params)

    def update(p, m, v, t):
        g = j.grad(loss)(p)
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
    from lib.kernels.mlp import Regression, random_stack
    from lib.kernels.optimisers import Adam
    from lib.kernels.rnn import Sequences, random_recurrent
    from lib.kernels.training import train

    x, y = problem.data(device)
    if problem.kernel == "mlp":
        model = Regression(random_stack(((members, problem.sizes),), "silu", seed=0, device=device), x, y)
    else:
        model = Sequences(random_recurrent(members, problem.sizes, problem.readout, seed=0, device=device), x, y)
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
