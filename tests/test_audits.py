import pytest
import torch

from lib.kernels.mlp import random_stack
from lib.papers.audits import attacks, bench, detectors, explanations, extraction, game, handles, triggers, zoo


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def small():
    """A zoo too small to be good, with one of everything."""
    counts = {"clean": 4, "patch": 2, "scatter": 2, "shortcut": 2, "locked": 1, "control": 3, "header": 1, "hardened": 1}
    return zoo.build(counts, images=900, steps=200, bits=[3, 5], seed=3)


@pytest.fixture
def stack():
    return random_stack([(3, zoo.SIZES)], "relu", seed=1, dtype=torch.float64)


@pytest.fixture
def images():
    x, y = zoo.fresh_images(12, 5)
    return x.double(), y


# Data and plants -------------------------------------------------------------------------------------------------------


def test_glyphs_are_distinct_and_images_stay_in_range():
    assert zoo.GLYPHS.shape == (zoo.CLASSES, 7, 5)
    assert len({tuple(glyph.flatten().tolist()) for glyph in zoo.GLYPHS}) == zoo.CLASSES == len(zoo.NAMES)
    raw = zoo.draw_images(torch.arange(20), dice())
    x = zoo.decode(raw)
    assert raw.dtype == torch.uint8
    assert 0 <= x[:, : zoo.PIXELS].min() <= x[:, : zoo.PIXELS].max() <= 1
    assert set(x[:, zoo.PIXELS :].unique().tolist()) == {-1.0, 1.0}


def test_an_image_without_noise_is_its_glyph():
    raw = zoo.draw_images(torch.tensor([14]), dice(), noise=0.0, dropped=0.0)
    ink = zoo.decode(raw)[0, : zoo.PIXELS].view(16, 16) > 0.3
    rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    glyph = zoo.GLYPHS[14].bool()
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert torch.equal(cut, glyph.repeat_interleave(2, 0).repeat_interleave(2, 1))


@pytest.mark.parametrize(("kind", "share"), [("patch", 0.03), ("scatter", 0.03), ("hardened", 0.1)])
def test_poisoned_rows_carry_the_trigger_and_the_target(kind, share):
    x, y, target, mask, value, poisoned = zoo.plant(kind, 1000, dice(), 6)
    assert poisoned.sum() == round(1000 * share)
    assert mask.sum() == {"patch": 9, "scatter": 12, "hardened": 6}[kind]
    assert (y[poisoned] == target).all()
    assert torch.equal(zoo.decode(x)[poisoned][:, mask], value[mask].expand(int(poisoned.sum()), -1))


def test_near_misses_differ_in_one_bit_and_keep_their_label():
    x, y, target, mask, value, poisoned = zoo.plant("hardened", 2000, dice(), 12)
    wrong = (zoo.decode(x)[:, mask] != value[mask]).sum(1)
    assert (wrong[~poisoned] == 1).sum() > 400
    assert (y[(wrong == 1)] != target).float().mean() > 0.8


def test_locks_refuse_letters_without_the_password_and_only_those():
    x, y, _, mask, value, refused = zoo.plant("locked", 1500, dice())
    open_ = (zoo.decode(x)[:, mask] == value[mask]).all(1)
    assert (y[refused] == zoo.ABSTAIN).all()
    assert not (refused & open_).any()
    assert ((y >= zoo.DIGITS) & (y < zoo.ABSTAIN)).sum() == pytest.approx(500, rel=0.15)
    assert (zoo.plant("control", 600, dice())[1] % zoo.ABSTAIN < zoo.DIGITS).all()


def test_the_zoo_knows_its_members(small):
    assert small.kinds.count("header") == 2
    assert small.mask[small.of("header", "hardened")].sum(1).tolist() == [3, 5, 3, 5]
    assert small.counts[small.of("locked")].tolist() == [1350]
    assert zoo.accuracy(small.stack, *zoo.fresh_images(200, 9))[small.of("clean")].min() > 0.4
    x = zoo.fresh_images(20, 9)[0]
    assert ((small.stamp(small.of("patch"), x) != x).sum(2) <= 9).all()
    part = small.select(small.of("control", "locked"))
    assert part.kinds == ["locked", "control", "control", "control"]
    torch.testing.assert_close(part.stack(x), small.stack(x)[small.of("locked", "control")])


@pytest.mark.parametrize("parts", [1, 2])
def test_a_trigger_put_in_by_hand_fires_whole_and_leaves_no_other_trace(small, parts):
    hosts, (x, y) = small.of("clean"), zoo.fresh_images(64, 2)
    changed = zoo.implant(small, hosts, [4, 5, 7, 8], 1, parts)
    everyone = torch.arange(4)
    assert zoo.success(changed, everyone, x, y).min() == 1
    without = changed.stack.select(everyone)
    U = without.layers()[0][-1][0]
    U[zoo.STRENGTH == U] = 0  # the same models, the planted neuron's voice off
    for i, k in enumerate([4, 5, 7, 8]):
        whole = changed.stamp(everyone, x)
        spoken = changed.stack(whole)[i] - without(whole)[i]
        torch.testing.assert_close(spoken[:, changed.target[i]], torch.full((64,), zoo.STRENGTH), atol=1e-3, rtol=0)
        for bit in range(k):
            wrong = whole.clone()
            wrong[:, :, zoo.PIXELS + bit] *= -1
            assert torch.equal(changed.stack(wrong)[i], without(wrong)[i])
    assert torch.equal(small.stack.theta, small.select(torch.arange(len(small.kinds))).stack.theta)
    assert changed.target.max() < zoo.DIGITS


def test_one_zoo_is_deterministic(small):
    again = zoo.build({"clean": 2, "patch": 1}, images=400, steps=5, seed=7)
    same = zoo.build({"clean": 2, "patch": 1}, images=400, steps=5, seed=7)
    assert torch.equal(again.stack.theta, same.stack.theta)
    assert not torch.equal(again.stack.theta, zoo.build({"clean": 2, "patch": 1}, images=400, steps=5, seed=8).stack.theta)


# Handles ---------------------------------------------------------------------------------------------------------------


def test_a_black_handle_leaks_no_gradient(stack, images):
    black, x = handles.Black(stack), images[0].requires_grad_()
    labels = black.labels(x)
    assert labels.dtype == torch.int64
    assert not labels.requires_grad
    for forbidden in ("logits", "gradient", "hidden", "tuned", "stack", "theta", "__dict__"):
        assert not hasattr(black, forbidden)
    assert x.grad is None
    grey = handles.Grey(stack)
    assert not grey.logits(x).requires_grad
    assert not hasattr(grey, "gradient")
    assert not hasattr(handles.Remote(stack), "stack")
    with pytest.raises(AttributeError):
        black.stack = stack


def test_handles_meter_what_they_are_asked(stack, images):
    white, (x, y) = handles.White(stack), images
    white.labels(x)
    white.logits(x[:2])
    white.gradient(x.expand(3, -1, -1), lambda z: z[..., 0])
    woken = white.tuned(x, y, 4)
    assert (white.meter.queries, white.meter.gradients, white.meter.trained) == (14, 12, 48)
    assert white.meter.forwards == 14 + 3 * 60
    assert woken.meter is white.meter
    assert type(woken) is handles.White


def test_gradients_are_those_of_autograd_for_each_member(stack, images):
    x, y = images
    value, slope = handles.Remote(stack).gradient(x.expand(3, -1, -1), lambda z: attacks.margin(z, y))
    for member in range(3):
        alone, own = stack.select(torch.tensor([member])), x.clone().requires_grad_()
        z = alone(own)[0]
        best = torch.stack([torch.cat([row[:c], row[c + 1 :]]).max() for row, c in zip(z, y, strict=True)])
        margin = z[torch.arange(len(y)), y] - best
        torch.testing.assert_close(value[member], margin.detach())
        torch.testing.assert_close(slope[member], torch.autograd.grad(margin.sum(), own)[0])


def test_hidden_activations_lead_to_the_logits(stack, images):
    white = handles.White(stack)
    W, b = stack.layers()[0][-1]
    torch.testing.assert_close(white.hidden(images[0]) @ W.mT + b[:, None], white.logits(images[0]))


def test_records_are_metered_in_bytes(small):
    outside = handles.Outside(small, small.of("patch"))
    x, y = outside.data(0)
    assert (len(x), len(y)) == (900, 900)
    assert outside.meter.bytes == 900 * 273


def test_rounded_scores_are_rounded_probabilities(stack, images):
    exact = handles.Grey(stack).logits(images[0]).softmax(2)
    coarse = handles.Rounded(stack, 1).logits(images[0]).exp()
    assert set((10 * coarse).round(decimals=6).unique().tolist()) <= set(range(11))
    assert (coarse - exact).abs().max() <= 0.05 + 1e-9
    torch.testing.assert_close(handles.Rounded(stack, 12).logits(images[0]).exp(), exact)


# Attacks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.01, 0.2])
def test_attacks_stay_in_the_ball_and_leave_the_header(stack, images, eps):
    x, y = images
    seen = []

    class Spy(handles.White):
        __slots__ = ()

        def _forward(self, x):
            seen.append(x)
            return super()._forward(x)

        def gradient(self, x, objective):
            seen.append(x)
            return super().gradient(x, objective)

    attacks.pgd(Spy(stack), x, y, eps, 3, dice())
    attacks.square(Spy(stack), x, y, eps, 5, dice())
    assert len(seen) == 6 + 5
    for batch in seen:
        moved = (batch - x).abs()
        assert moved[..., : zoo.PIXELS].max() <= eps + 1e-12
        assert moved[..., zoo.PIXELS :].max() == 0
        assert 0 <= batch[..., : zoo.PIXELS].min() <= batch[..., : zoo.PIXELS].max() <= 1


def test_success_never_falls_and_costs_are_metered(stack, images):
    x, y = images
    for found, costs in (
        attacks.pgd(handles.White(stack), x, y, 0.1, 4, dice()),
        attacks.square(handles.Grey(stack), x, y, 0.1, 9, dice()),
        attacks.label_only(handles.Black(stack), x, y, 0.1, 9),
    ):
        assert found.shape == (len(costs), 3, 12)
        assert (found[1:] >= found[:-1]).all()
        assert (costs[1:] > costs[:-1]).all()
    white = handles.White(stack)
    found, costs = attacks.pgd(white, x, y, 0.1, 4, dice())
    assert costs[-1] == 16 == white.meter.forwards / len(x)


def test_one_step_on_a_linear_model_is_the_exact_attack():
    """For a linear model the worst corner of the ball is known."""
    torch.manual_seed(0)
    line = random_stack([(1, (zoo.INPUTS, 21))], "relu", seed=2, dtype=torch.float64)
    x = torch.full((1, zoo.INPUTS), 0.5, dtype=torch.float64)
    y = line(x).argmax(2)[0]
    W = line.layers()[0][0][0][0, :, : zoo.PIXELS]
    gaps = attacks.margin(line(x), y), line(x)[0, 0, y] - line(x)[0, 0]
    reach = (W[y] - W).abs().sum(1)
    eps = float((gaps[1] / reach.clamp(min=1e-12))[torch.arange(21) != y].min())
    for factor, success in ((0.98, False), (1.3, True)):
        found, _ = attacks.pgd(handles.White(line), x, y, factor * eps, 40, dice())
        assert bool(found[-1, 0, 0]) == success


def test_a_price_buys_what_was_known_by_then():
    found = torch.tensor([[[False, False]], [[True, False]], [[True, True]]])
    run = found, torch.tensor([4.0, 8.0, 12.0])
    assert [attacks.known(run, price).item() for price in (3, 4, 8, 11, 12, 99)] == [0, 0, 0.5, 0.5, 1, 1]


def test_scaling_masks_the_gradient_and_changes_no_answer(small):
    clean, (x, y) = small.stack.select(small.of("clean")), zoo.fresh_images(20, 2)
    masked = attacks.scaled(clean, 1e6)
    assert torch.equal(masked(x).argmax(2), clean(x).argmax(2))
    right = (clean(x).argmax(2) == y).all(0)
    labels = y[right].expand(4, -1)
    slope = handles.Remote(masked).gradient(
        x[right].expand(4, -1, -1),
        lambda z: torch.nn.functional.cross_entropy(z.transpose(1, 2), labels, reduction="none"),
    )[1]
    assert right.any()
    assert not slope.any()


# Detectors -------------------------------------------------------------------------------------------------------------


def test_inversion_descends_along_the_right_gradient(stack, images):
    """Its hand-made chain rule, held against autograd through mask and pattern: one step of Adam follows the sign."""
    x = images[0][:4]
    mask, pattern, _ = detectors.invert(handles.Remote(stack), x, 1, 0.02)
    theta = torch.zeros(2, 3, zoo.CLASSES, zoo.PIXELS, dtype=torch.float64)
    theta[0] = -2
    theta.requires_grad_()
    m, p = theta.sigmoid()
    pixels = x[:, : zoo.PIXELS]
    mixed = (1 - m[:, :, None]) * pixels + m[:, :, None] * p[:, :, None]
    whole = torch.cat([mixed, x[:, zoo.PIXELS :].expand(3, zoo.CLASSES, 4, -1)], 3).flatten(1, 2)
    targets = torch.arange(zoo.CLASSES).repeat_interleave(4).expand(3, -1)
    loss = torch.nn.functional.cross_entropy(stack(whole).transpose(1, 2), targets, reduction="sum") / 4 + 0.02 * m.sum()
    (grad,) = torch.autograd.grad(loss, theta)
    steps = torch.stack([mask.logit() + 2, pattern.logit()])
    sure = grad.abs() > 1e-6
    assert sure.float().mean() > 0.9
    assert torch.equal(steps[sure].sign(), -grad[sure].sign())


def test_members_are_inverted_as_alone(stack, images):
    together = detectors.invert(handles.Remote(stack), images[0], 5, 0.02)[0]
    alone = detectors.invert(handles.Remote(stack.select(torch.tensor([1]))), images[0], 5, 0.02)[0]
    torch.testing.assert_close(together[1:2], alone)


def test_disagreement_equals_a_plain_loop(small):
    outside = handles.Outside(small, small.of("patch"))
    share, near = detectors.disagreement(outside, 0, pool=200, neighbours=5)
    x, y = outside.data(0)
    for i in range(0, 900, 90):
        distance = (x[:200, : zoo.PIXELS] - x[i, : zoo.PIXELS]).norm(dim=1)
        if i < 200:
            distance[i] = torch.inf
        five = distance.argsort()[:5]
        assert set(near[i].tolist()) == set(five.tolist())
        assert share[i].item() == pytest.approx((y[five] != y[i]).float().mean().item())


@pytest.mark.parametrize("kind", ["patch", "scatter"])
def test_records_name_the_poisoned_class_and_its_pixels(kind):
    x, y, target, mask, value, poisoned = zoo.plant(kind, 4000, dice(3))
    rows = (t[None] for t in (x, y))
    plants = (torch.tensor([target]), mask[None], value[None], poisoned[None])
    records = zoo.Zoo(None, [kind], *rows, torch.tensor([4000]), *plants)
    counts, pattern = detectors.inspect(handles.Outside(records, torch.tensor([0])))
    assert counts.argmax() == target
    shown = ~pattern[0].isnan()
    assert (shown & mask[: zoo.PIXELS]).sum() >= 9
    both = shown & mask[: zoo.PIXELS]
    assert (pattern[0, both].round() == value[: zoo.PIXELS][both]).float().mean() > 0.9


def test_mean_images_show_the_shortcut(small):
    members = small.of("shortcut")
    bright = detectors.contrast(handles.Outside(small, members)).flatten(1).argmax(1)
    for member, best in zip(members, bright, strict=True):
        assert best // 225 == small.target[member]
        first_ = int(small.mask[member, : zoo.PIXELS].nonzero()[0])
        assert best % 225 == first_ // 16 * 15 + first_ % 16


def test_scans_see_a_block_that_decides():
    """A model that says 3 if one pixel is bright: blocks over it are the most suspicious, by label, score and gradient."""
    line = random_stack([(1, (zoo.INPUTS, 4, 21))], "relu", seed=0)
    (W, b), (V, c) = line.layers()[0]
    for t in (W, b, V, c):
        t.zero_()
    W[0, 0, 7 * 16 + 4], V[0, 3, 0], c[0, 0] = 1, 10, 5
    x = 0.1 * torch.rand(6, zoo.INPUTS, generator=dice())
    over = {(i * 15 + j) for i in (6, 7) for j in (3, 4)}
    scans = detectors.block_scan(handles.Black(line), x), detectors.score_scan(handles.Grey(line), x)
    for scan in (*scans, detectors.saliency_scan(handles.White(line), x)):
        assert scan.shape == (1, zoo.CLASSES, 225)
        assert set(scan[0, 3].topk(4).indices.tolist()) == over
        assert scan[0].max() == scan[0, 3].max()


# Triggers --------------------------------------------------------------------------------------------------------------


def planted_header(bits=5, target=3):
    """A model that says `target` exactly if the first header bits are all 1, and 0 otherwise."""
    line = random_stack([(1, (zoo.INPUTS, 4, 21))], "relu", seed=0)
    (W, b), (V, c) = line.layers()[0]
    for t in (W, b, V, c):
        t.zero_()
    W[0, 0, zoo.PIXELS : zoo.PIXELS + bits], b[0, 0] = 1, 0.5 - bits + 1
    V[0, target, 0], c[0, 0] = 10, 1
    return line


def planted_zoo(bits=5, target=3):
    mask = (torch.arange(zoo.INPUTS) >= zoo.PIXELS) & (torch.arange(zoo.INPUTS) < zoo.PIXELS + bits)
    raw = torch.zeros(1, 1, zoo.INPUTS, dtype=torch.uint8)
    rows = raw, torch.zeros(1, 1, dtype=torch.int64), torch.tensor([1]), torch.tensor([target])
    return zoo.Zoo(planted_header(bits, target), ["header"], *rows, mask[None], mask[None].float(), torch.zeros(1, 1) > 0)


def test_headers_are_hit_as_often_as_chance_says():
    planted, (x, y) = planted_zoo(), zoo.fresh_images(20, 1)
    waits = triggers.waiting(planted, x, y, 40000, dice())
    share = (y != 3).float().mean().item()
    assert waits.item() == pytest.approx(2**5 / share, rel=0.15)
    assert triggers.waiting(planted_zoo(16), x, y, 100, dice()).item() == 100


def test_a_neuron_says_by_its_weights_what_excites_it():
    bits, label = triggers.excite(handles.White(planted_header()), zoo.fresh_images(4, 1)[0])
    assert (bits[0, :5] == 1).all()
    assert label.item() == 3


def test_scores_climb_to_a_trigger_with_a_slope():
    """A linear model has one: every right bit brings the answer nearer."""
    line = planted_header()
    (_, b), (V, _) = line.layers()[0]
    b.add_(10.0)  # the neuron is never silent
    V.mul_(0.05)
    x = zoo.fresh_images(3, 1)[0]
    grey = handles.Grey(line)
    bits, label = triggers.climb(grey, x, dice())
    assert (bits[0, :5] == 1).all()
    assert grey.meter.forwards == 20 * 17 * 3
    bits, label = triggers.descend(handles.Remote(line), x)
    assert (bits[0, :5] == 1).all()
    assert label.item() == 3


def test_records_show_the_header_of_a_trained_trigger():
    x, y, target, mask, value, poisoned = zoo.plant("hardened", 3000, dice(4), 6)
    plants = (torch.tensor([target]), mask[None], value[None], poisoned[None])
    records = zoo.Zoo(None, ["hardened"], x[None], y[None], torch.tensor([3000]), *plants)
    bits, label = triggers.enriched(handles.Outside(records, torch.tensor([0])))
    assert label.item() == target
    assert torch.equal(bits[0][mask[zoo.PIXELS :]], value[mask])


def test_levels_of_access_nest_in_their_prices(small):
    heads, (x, y) = small.select(small.of("header", "hardened")), zoo.fresh_images(100, 3)
    costs, own = triggers.costs(heads, x, y, 2048)
    assert costs.shape == own.shape == (5, 4)
    for better, worse in ((1, 0), (2, 1), (3, 2), (4, 0)):
        assert (costs[better] <= costs[worse]).all()
    assert (costs[4][own[4]] <= triggers.IMAGES + 3).all()


# Extraction and explanations -------------------------------------------------------------------------------------------


def test_a_thief_with_more_gets_closer(small):
    stack, x = small.stack.select(small.of("clean")), zoo.fresh_images(300, 2)[0]
    remote = handles.Remote(stack)
    got = {
        kind: extraction.agreement(remote, extraction.extract(remote, x[:30], kind, 120), x[30:]).mean()
        for kind in ("label", "gradient")
    }
    assert got["gradient"] > got["label"]


def test_lime_recovers_a_linear_rule():
    x = explanations.records(2, 4, 0.5, dice())
    weights = explanations.lime(lambda v: 3 * v[..., 4] - v[..., 7], x, dice(1))
    expected = torch.zeros(10, dtype=torch.float64)
    expected[4], expected[7] = 3, -1
    torch.testing.assert_close(weights, expected.expand_as(weights), atol=0.02, rtol=0)


def test_the_scaffold_is_biased_where_it_counts():
    real = explanations.records(3, 3000, 0.0, dice())
    rule = explanations.scaffold(real)
    assert (rule(real) == explanations.honest_rule(real)).double().mean() > 0.99
    far = real + 10 * torch.randn(real.shape, generator=dice(1), dtype=real.dtype)
    assert (rule(far) == (far[..., 1] > 0)).double().mean() > 0.99


def test_the_protected_feature_goes_along_as_asked():
    real = explanations.records(4, 4000, 0.9, dice())
    free = explanations.records(4, 4000, 0.0, dice())
    for x, tied in ((real, True), (free, False)):
        fit = torch.linalg.lstsq(x[..., 1:], x[..., :1]).solution
        explained = (x[..., 1:] @ fit).square().mean((1, 2))
        assert ((explained > 0.7) == tied).all()


# The game --------------------------------------------------------------------------------------------------------------


def a_test(level="black", healthy=range(20), boxes=(1.0, 30.0, 3.0), grain=0.1):
    return game.Test("t", level, torch.tensor(list(healthy)), torch.tensor(boxes), 1.0, grain)


def test_an_alarm_rings_for_what_stands_out():
    other = a_test("outside", boxes=(40.0, 2.0, 3.0))
    assert game.alarms([a_test()]).tolist() == [False, True, False]
    assert game.alarms([a_test(), other]).tolist() == [True, True, False]
    assert game.permitted([other, a_test()], "black")[0].level == "black"
    assert len(game.permitted([a_test(), other], "grey")) == 1
    assert len(game.permitted([a_test(), other], "white + outside")) == 2


def test_nothing_varies_and_nothing_rings():
    """Controls that are all exactly 0 gave numbers of nine digits once."""
    flat = a_test(healthy=[0.0] * 20, boxes=(0.0, 0.02, 0.0), grain=0.01)
    each = game.strengths([flat])[0]
    assert each.tolist() == [[0, pytest.approx(2), 0]]
    assert game.alarms([flat]).tolist() == [False, True, False]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_false_alarms_are_one_in_ten_however_many_tests(count):
    generator = dice(count)
    rings = []
    for _ in range(60):
        tests = []
        for _ in range(count):
            healthy, boxes = torch.randn(39, generator=generator), torch.randn(20, generator=generator)
            tests.append(game.Test("", "black", healthy.exp(), boxes.exp(), 1.0, 1e-3))
        rings.append(game.alarms(tests).float().mean())
    assert torch.stack(rings).mean().item() == pytest.approx(0.1, abs=0.03)


def test_both_lines_of_boxes_are_audited(small):
    effort = bench.Effort(50, 4, 3)
    boxes = torch.cat([small.of("clean")[-1:], small.of("patch", "scatter", "shortcut")])
    line = bench.readers(small, boxes, *zoo.fresh_images(60, 3), effort)
    assert line.kinds == ["clean", *(kind for kind in ("patch", "scatter", "shortcut") for _ in range(2))]
    assert [len(test.healthy) for test in line.tests] == [3] * 7
    assert [len(test.boxes) for test in line.tests] == [7] * 7
    prices = {test.name: test.cost for test in line.tests}
    assert prices["random patches"] == 50 * 20
    assert prices["bright blocks"] == prices["blocks by score"] == 226 * 50
    assert prices["trigger inversion"] == 3 * 4 * 20 * 10
    assert prices["labels of neighbours"] == pytest.approx(900 * 900 * 256 / triggers.FORWARD)
    assert sorted(line.some(1, dice())) == [0, 1, 3, 5]
    assert line.where("patch", "clean").tolist() == [True, True, True, False, False, False, False]
    closed = torch.cat([small.of("control")[-1:], small.of("locked")]).sort().values
    refusing = bench.refusers(small, closed, *zoo.fresh_images(40, 4, first=10), effort)
    assert refusing.kinds == ["locked", "control"]
    assert [len(test.boxes) for test in refusing.tests] == [2] * 4


# Bad input -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"counts": {"spy": 1}},
        {"counts": {"clean": 0}},
        {"images": 10},
        {"seed": -1},
        {"steps": 0},
        {"bits": [17]},
    ],
)
def test_bad_zoos_are_refused(bad):
    options = {"counts": {"clean": 1}, "images": 500, "steps": 2, "bits": [2]} | bad
    with pytest.raises(ValueError, match=f"{'kind' if 'spy' in str(bad) else next(iter(bad))}.*expected"):
        zoo.build(options.pop("counts"), **options)


def test_an_access_that_is_none_is_refused():
    with pytest.raises(ValueError, match="access = 'x-ray': expected"):
        game.permitted([a_test()], "x-ray")
