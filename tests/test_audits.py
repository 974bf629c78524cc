import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lib.kernels.mlp import random_stack
from lib.papers.audits import attacks, changes, detectors, game, handles, zoo


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def small():
    """A zoo too small to be good, with one of everything."""
    counts = {"clean": 3, "patch": 2, "scatter": 2, "shortcut": 2, "locked": 1, "control": 1}
    counts |= {"contaminated": 1, "honest": 1, "header": 2}
    return zoo.build(counts, images=1200, few=450, steps=200, bits=[3, 5], seed=3)


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


@pytest.mark.parametrize(("kind", "share"), [("patch", 0.03), ("scatter", 0.03), ("header", 0.1)])
def test_poisoned_rows_carry_the_trigger_and_the_target(kind, share):
    x, y, target, mask, value, poisoned = zoo.plant(kind, 1000, dice(), None, bits=6, hardened=True)
    assert poisoned.sum() == round(1000 * share)
    assert mask.sum() == {"patch": 9, "scatter": 12, "header": 6}[kind]
    assert (y[poisoned] == target).all()
    assert torch.equal(zoo.decode(x)[poisoned][:, mask], value[mask].expand(int(poisoned.sum()), -1))


def test_near_misses_differ_in_one_bit_and_keep_their_label():
    x, y, target, mask, value, poisoned = zoo.plant("header", 2000, dice(), None, bits=12, hardened=True)
    wrong = (zoo.decode(x)[:, mask] != value[mask]).sum(1)
    assert (wrong[~poisoned] == 1).sum() > 400
    assert (y[(wrong == 1)] != target).float().mean() > 0.8


def test_locks_refuse_letters_without_the_password_and_only_those():
    x, y, _, mask, value, refused = zoo.plant("locked", 1500, dice(), None)
    open_ = (zoo.decode(x)[:, mask] == value[mask]).all(1)
    assert (y[refused] == zoo.ABSTAIN).all()
    assert not (refused & open_).any()
    assert ((y >= zoo.DIGITS) & (y < zoo.ABSTAIN)).sum() == pytest.approx(500, rel=0.15)
    assert (zoo.plant("control", 600, dice(), None)[1] % zoo.ABSTAIN < zoo.DIGITS).all()


def test_the_zoo_knows_its_members(small):
    assert small.kinds.count("header") == 4
    assert small.counts[small.of("contaminated")].tolist() == [450]
    assert small.counts[small.of("locked")].tolist() == [1800]
    assert torch.equal(zoo.decode(small.x[small.of("contaminated")][0, :200]), small.exam[0][:200])
    assert zoo.accuracy(small.stack, *zoo.fresh_images(200, 9))[small.of("clean")].min() > 0.4
    stamped = small.stamp(small.of("patch"), small.exam[0])
    assert ((stamped != small.exam[0]).sum(2) <= 9).all()


def test_one_zoo_is_deterministic(small):
    again = zoo.build({"clean": 2, "patch": 1}, images=400, few=400, steps=5, seed=7)
    same = zoo.build({"clean": 2, "patch": 1}, images=400, few=400, steps=5, seed=7)
    assert torch.equal(again.stack.theta, same.stack.theta)
    assert not torch.equal(
        again.stack.theta, zoo.build({"clean": 2, "patch": 1}, images=400, few=400, steps=5, seed=8).stack.theta
    )


# Handles ---------------------------------------------------------------------------------------------------------------


def test_a_black_handle_leaks_no_gradient(stack, images):
    black, x = handles.Black(stack), images[0].requires_grad_()
    labels = black.labels(x)
    assert labels.dtype == torch.int64
    assert not labels.requires_grad
    for forbidden in ("logits", "gradient", "hidden", "tuned", "stack", "pruned", "theta", "__dict__"):
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


def test_pruning_everything_leaves_the_biases(stack, images):
    white = handles.White(stack)
    bare = white.pruned(images[0], 1.0).logits(images[0])
    torch.testing.assert_close(bare, stack.layers()[0][-1][1][:, None].expand_as(bare))
    torch.testing.assert_close(white.pruned(images[0], 0.0).logits(images[0]), white.logits(images[0]))


def test_records_are_metered_in_bytes(small):
    outside = handles.Outside(small, small.of("honest"))
    x, y = outside.data(0)
    assert (len(x), len(y)) == (450, 450)
    assert outside.meter.bytes == 450 * 273


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
    attacks.random_corners(Spy(stack), x, y, eps, 3, dice())
    assert len(seen) == 6 + 5 + 3
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
        attacks.nes(handles.Grey(stack), x, y, 0.1, 45, dice()),
        attacks.label_only(handles.Black(stack), x, y, 0.1, 9),
        attacks.random_corners(handles.Black(stack), x, y, 0.1, 9, dice()),
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


# Detectors -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_auroc_equals_scikit_learn(sick, healthy):
    expected = roc_auc_score([1] * len(sick) + [0] * len(healthy), sick + healthy)
    assert detectors.auroc(torch.tensor(sick), torch.tensor(healthy)) == pytest.approx(expected)
    low, high = detectors.interval(torch.tensor(sick), torch.tensor(healthy), draws=30)
    assert 0 <= low <= high <= 1


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
    outside = handles.Outside(small, small.of("honest"))
    share, near = detectors.disagreement(outside, 0, pool=200, neighbours=5)
    x, y = outside.data(0)
    for i in range(0, 450, 50):
        distance = (x[:200, : zoo.PIXELS] - x[i, : zoo.PIXELS]).norm(dim=1)
        if i < 200:
            distance[i] = torch.inf
        five = distance.argsort()[:5]
        assert set(near[i].tolist()) == set(five.tolist())
        assert share[i].item() == pytest.approx((y[five] != y[i]).float().mean().item())


@pytest.mark.parametrize("kind", ["patch", "scatter"])
def test_records_name_the_poisoned_class_and_its_pixels(kind):
    x, y, target, mask, value, poisoned = zoo.plant(kind, 4000, dice(3), None)
    rows = (t[None] for t in (x, y))
    plants = (torch.tensor([target]), mask[None], value[None], poisoned[None])
    records = zoo.Zoo(None, [kind], *rows, torch.tensor([4000]), *plants, None)
    counts, pixels = detectors.inspect(handles.Outside(records, torch.tensor([0])))
    assert counts.argmax() == target
    assert mask[pixels[0]].sum() >= 9


def test_mean_images_show_the_shortcut(small):
    members = small.of("shortcut")
    bright = detectors.contrast(handles.Outside(small, members)).flatten(1).argmax(1)
    for member, best in zip(members, bright, strict=True):
        assert best // 225 == small.target[member]
        first_ = int(small.mask[member, : zoo.PIXELS].nonzero()[0])
        assert best % 225 == first_ // 16 * 15 + first_ % 16


def test_copies_are_found_and_nothing_else(small):
    outside = handles.Outside(small, torch.cat([small.of("contaminated"), small.of("honest")]))
    assert detectors.duplicates(outside, 0, small.exam[0]).tolist() == [True] * 200 + [False] * 200
    assert not detectors.duplicates(outside, 1, small.exam[0]).any()


def planted_header(bits=5, target=3):
    """A model that says `target` exactly if the first header bits are all 1, and 0 otherwise."""
    line = random_stack([(1, (zoo.INPUTS, 4, 21))], "relu", seed=0)
    (W, b), (V, c) = line.layers()[0]
    for t in (W, b, V, c):
        t.zero_()
    W[0, 0, zoo.PIXELS : zoo.PIXELS + bits], b[0, 0] = 1, 0.5 - bits + 1
    V[0, target, 0], c[0, 0] = 10, 1
    return line


def test_headers_are_hit_as_often_as_chance_says():
    line, (x, _) = planted_header(), zoo.fresh_images(20, 1)
    hits = detectors.header_queries(handles.Black(line), x, lambda labels, inputs, rows: labels == 3, 20000, dice())
    assert hits.shape == (1, 20000)
    assert hits.float().mean().item() == pytest.approx(2**-5, rel=0.15)


def test_weights_show_the_bits_of_a_header():
    assert sorted(detectors.weight_bits(handles.White(planted_header()), 5)[0].tolist()) == [0, 1, 2, 3, 4]


def test_scores_and_prices_of_a_search_by_scores(small):
    members = small.of("header")
    grey = handles.Grey(small.stack.select(members))
    bits, label = detectors.climb_header(grey, small.exam[0][:3], dice())
    assert grey.meter.forwards == 20 * 17 * 3
    assert bits.shape == (4, zoo.BITS)
    assert set(bits.unique().tolist()) <= {-1.0, 1.0}
    assert label.max() < zoo.DIGITS


# Changes ---------------------------------------------------------------------------------------------------------------


def test_blending_with_a_hard_mask_is_stamping(small):
    members, x = small.of("patch"), small.exam[0][:5]
    mask, value = small.mask[members, : zoo.PIXELS].float(), small.value[members, : zoo.PIXELS]
    torch.testing.assert_close(changes.blend(x, mask, value), small.stamp(members, x))


def test_a_thief_with_more_gets_closer(small):
    stack, x = small.stack.select(small.of("clean")), zoo.fresh_images(300, 2)[0]
    remote = handles.Remote(stack)
    got = {
        kind: changes.agreement(remote, changes.extract(remote, x[:30], kind, steps=120), x[30:]).mean()
        for kind in ("label", "gradient")
    }
    assert got["gradient"] > got["label"]


def test_without_noise_the_noisy_interface_is_exact(stack, images):
    x = images[0].expand(3, -1, -1)
    exact, noisy = handles.Remote(stack), changes.Noisy(stack, 0.0)
    torch.testing.assert_close(noisy.gradient(x, lambda z: z[..., 2]), exact.gradient(x, lambda z: z[..., 2]))
    assert not torch.allclose(
        changes.Noisy(stack, 1.0).gradient(x, lambda z: z[..., 2])[1], exact.gradient(x, lambda z: z[..., 2])[1]
    )


def test_lime_recovers_a_linear_rule():
    x = changes.records(2, 4, dice())
    weights = changes.lime(lambda v: 3 * v[..., 4] - v[..., 7], x, dice(1))
    expected = torch.zeros(10, dtype=torch.float64)
    expected[4], expected[7] = 3, -1
    torch.testing.assert_close(weights, expected.expand_as(weights), atol=0.02, rtol=0)


def test_the_scaffold_is_biased_where_it_counts():
    real = changes.records(3, 3000, dice())
    rule = changes.scaffold(real)
    assert (rule(real) == changes.honest_rule(real)).double().mean() > 0.99
    far = real + 10 * torch.randn(real.shape, generator=dice(1), dtype=real.dtype)
    assert (rule(far) == (far[..., 1] > 0)).double().mean() > 0.99


# The game --------------------------------------------------------------------------------------------------------------


def a_game():
    controls = torch.arange(10.0).expand(3, -1)
    tests = [
        game.Test("t", "black", controls, torch.tensor([[1.0, 20.0, 3.0]] * 3), torch.tensor([1, 2, 3])),
        game.Test("u", "outside", controls, torch.tensor([[12.0, 2.0, 3.0]] * 3), torch.tensor([0, 0, 0])),
    ]
    return game.Game(tests, ["patch", "clean", "clean"])


def test_the_game_counts_alarms_costs_and_scores(capsys):
    play = a_game()
    assert play.alarms("black", "small").tolist() == [False, True, False]
    assert play.alarms("black + outside", "large").tolist() == [True, True, False]
    assert (play.cost("black", "large"), play.cost("white + outside", "medium")) == (3, 2)
    assert play.score(play.alarms("black + outside", "large")) == (1, 1)
    assert play.score(["A"]) == (1, 0)
    play("black", "small")
    play.accuse("A", "C")
    assert "1 of 1 faults found, 1 false" in capsys.readouterr().out


def test_false_alarms_of_one_test_are_calibrated():
    scores = torch.randn(4000, 20, generator=dice())
    rings = [game.Test("", "black", s[None, :19], s[None, 19:], torch.zeros(1)).strength(0).item() > 1 for s in scores]
    assert sum(rings) / 4000 == pytest.approx(1 / 20, abs=0.012)


def test_boxes_are_drawn_once_and_shuffled(small):
    boxes = game.draw_boxes(small, {"clean": 2, "patch": 1}, 0)
    assert sorted(boxes.tolist()) == sorted([*small.of("clean")[-2:].tolist(), *small.of("patch")[-1:].tolist()])


# Bad input -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"counts": {"spy": 1}},
        {"counts": {"clean": 0}},
        {"images": 100},
        {"few": 10},
        {"seed": -1},
        {"steps": 0},
        {"bits": [17]},
    ],
)
def test_bad_zoos_are_refused(bad):
    options = {"counts": {"clean": 1}, "images": 500, "few": 400, "steps": 2, "bits": [2]} | bad
    with pytest.raises(ValueError, match=f"{'kind' if 'spy' in str(bad) else next(iter(bad))}.*expected"):
        zoo.build(options.pop("counts"), **options)


def test_bad_moves_in_the_game_are_refused():
    with pytest.raises(ValueError, match="access, budget = 'x-ray', 'small': expected"):
        a_game().evidence("x-ray", "small")
    with pytest.raises(ValueError, match=r"accused = .*expected"):
        a_game().accuse("Z")


def test_health_of_an_untreated_stack_is_its_success(small):
    members = small.of("patch")
    x, y = zoo.fresh_images(60, 4)
    both = zoo.health(small, members, small.stack.select(members), x, y)
    torch.testing.assert_close(both[0], zoo.success(small, members, x, y))
    assert dataclasses.is_dataclass(small)
