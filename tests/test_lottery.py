import numpy as np
import pytest
import torch

from lib.kernels.mlp import Regression
from lib.kernels.optimisers import Adam, drops
from lib.kernels.training import train
from lib.papers import lottery
from lib.papers.lottery import Setting


def nodes():
    x, weight = lottery.nodes(lottery.LOOK)
    return x[:, 0].double(), weight.double()


# ---- the task and its points ---------------------------------------------------------------------------------------------


def test_nodes_average_over_the_interval():
    x, weight = nodes()
    assert weight.sum().item() == pytest.approx(1, rel=1e-6)
    assert (weight * x**4).sum().item() == pytest.approx(16 / 5, rel=1e-5)
    assert (weight * x**3).sum().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("dimension", "count"), [(1, 256), (2, 576), (3, 1024)])
def test_points_fill_the_cube(dimension, count):
    x = lottery.points(dimension)
    assert x.shape == (count, dimension)
    assert x.abs().max() <= 2
    assert len({tuple(row) for row in x.tolist()}) == count
    torch.testing.assert_close(x.mean(0), torch.zeros(dimension), atol=0.01, rtol=0)
    torch.testing.assert_close(lottery.target(x).mean(), torch.tensor(4 * dimension / 3), rtol=0.1, atol=0)


def test_scattered_points_share_no_coordinate():
    assert all(len(axis.unique()) == len(axis) for axis in lottery.points(3).T)


def test_the_target_sums_squares():
    assert lottery.target(torch.tensor([[1.0, -2.0, 3.0]])).tolist() == [[14]]


def test_smooth_networks_learn_from_enough_nodes():
    """A network of the map has the same loss at the nodes it learns from as at many more."""
    chart = lottery.chart([1e-2], [0.0], [64], [1500], Setting(4))
    few, many = (
        (chart.stacks[0](x) - lottery.target(x))[..., 0].square() @ weight
        for x, weight in (lottery.nodes(lottery.LEARN), lottery.nodes(64))
    )
    torch.testing.assert_close(few, many, rtol=1e-3, atol=0)


@pytest.mark.parametrize("dimension", [0, 4, 1.5])
def test_other_dimensions_are_refused(dimension):
    with pytest.raises(ValueError, match="dimension = "):
        lottery.points(dimension)


# ---- what errors share ---------------------------------------------------------------------------------------------------


def test_shared_is_the_mean_product_of_different_networks_over_the_mean_loss():
    errors, (_, weight) = torch.randn(3, 5, 32).double(), nodes()
    found = lottery.shared(errors, weight)
    for cell, share in zip(errors, found, strict=True):
        products = [float((a * b * weight).sum()) for i, a in enumerate(cell) for j, b in enumerate(cell) if i != j]
        own = [float((a * a * weight).sum()) for a in cell]
        assert share.item() == pytest.approx(np.mean(products) / np.mean(own))


def test_shared_says_what_an_average_keeps():
    """The mean of all K networks has shared + (1 - shared)/K of the loss: exactly, for these very networks."""
    errors, (_, weight) = torch.randn(8, 32).double() + torch.randn(32).double(), nodes()
    share = lottery.shared(errors, weight)
    kept = lottery.losses(errors.mean(0), weight) / lottery.losses(errors, weight).mean()
    assert (share + (1 - share) / 8).item() == pytest.approx(kept.item())


def test_a_network_drawn_twice_is_not_two_networks():
    errors, (_, weight) = torch.randn(4, 32).double(), nodes()
    pick = torch.tensor([0, 1, 1, 2, 3, 3])
    twice = lottery.shared(errors[pick], weight, pick)
    naive = lottery.shared(errors[pick], weight)
    assert twice < naive
    resampled = lottery.shared(errors[pick].expand(3, 2, -1, -1), weight, pick.expand(3, -1))
    torch.testing.assert_close(resampled, twice.expand(3, 2))


def test_shared_of_resamples_is_unbiased():
    """Independent errors have nothing in common; a resample's own copies must not look like something."""
    generator = torch.Generator().manual_seed(0)
    errors, (_, weight) = torch.randn(400, 8, 32, generator=generator).double(), nodes()
    pick = torch.randint(8, (400, 8), generator=generator)
    drawn = errors.gather(1, pick[:, :, None].expand(-1, -1, 32))
    assert abs(lottery.shared(drawn, weight, pick).mean()) < 0.02
    assert lottery.shared(drawn, weight).mean() > 0.1


def test_quartic_is_orthogonal_to_parabolas_and_has_norm_one_ninth():
    x, weights = np.polynomial.legendre.leggauss(8)  # exact for polynomials up to degree 15
    p4 = lottery.quartic(lottery.R * x)
    assert [abs(weights @ (p4 * x**power)) < 1e-12 for power in (0, 1, 2)] == [True] * 3
    assert weights @ p4**2 / 2 == pytest.approx(1 / 9)


def test_quartic_share_of_a_mixture():
    x, weight = nodes()
    other = 3 * (x / lottery.R)  # orthogonal to P4, of squared norm 3
    errors = torch.stack([3 * lottery.quartic(x) + other, 3 * lottery.quartic(x) - other])
    assert lottery.quartic_share(errors, x, weight).item() == pytest.approx(1 / 4, rel=1e-5)


def test_the_law_of_mirror_pairs_becomes_exact_as_weights_shrink():
    """The best fit of x² by s(wx) + s(-wx) and a constant leaves KAPPA R⁸ w⁴."""
    (x, weight), ratios = nodes(), []
    root = weight.sqrt()
    for w in (0.4, 0.2, 0.1):
        pair = (w * x) * torch.tanh(w * x / 2)
        design = torch.stack([pair, torch.ones_like(pair)], 1) * root[:, None]
        fit = torch.linalg.lstsq(design, (x * x * root)[:, None]).solution
        loss = (design @ fit - (x * x * root)[:, None]).square().sum()
        ratios.append((loss / (lottery.KAPPA * lottery.R**8 * w**4)).item())
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1)
    assert ratios[2] == pytest.approx(1, abs=0.01)


def test_exponents_of_a_known_law_ignore_one_bad_seed():
    n = torch.tensor([2, 4, 8, 16])
    losses = (3 * n.double() ** -1.5)[:, None].expand(4, 5).clone()
    losses[:, 0] = 10
    torch.testing.assert_close(lottery.exponents(n, losses.expand(2, 4, 5)), torch.full((2,), 1.5).double())


def test_no_cell_has_no_exponent():
    """Where no cell of the map has learnt, a claim about all such cells has nothing to measure, and says so."""
    assert lottery.exponents(torch.tensor([8, 16]), torch.rand(7, 0, 2, 5)).shape == (7, 0)
    assert lottery.shared(torch.rand(7, 0, 2, 5, 3), torch.ones(3), torch.arange(5).expand(7, 5)).shape == (7, 0, 2)


@pytest.mark.parametrize("units", [4, 5])
def test_median_is_that_of_torch(units):
    values = torch.rand(3, units, dtype=torch.float64)
    torch.testing.assert_close(lottery.median(values), values.quantile(0.5, -1))


# ---- the map -------------------------------------------------------------------------------------------------------------


def test_a_cell_of_the_map_is_trained_as_if_alone():
    setting = Setting(3)
    whole = lottery.chart([1e-3, 1e-2], [0.0, 0.1], [4, 8], [20, 40], setting)
    assert whole.errors.shape == (2, 2, 2, 2, 2, 3, 32)
    assert whole.at(0.09, 0.02, 39) == (1, 1, 1)
    x, weight = lottery.nodes(lottery.LEARN)
    first = lottery.chart([1e-3, 1e-2], [0.0, 0.1], [4, 8], [1], setting)
    for i, j, width in ((0, 1, 4), (1, 0, 8)):
        k = whole.widths.index(width)
        assert not torch.allclose(whole.errors[0, 1, i, j, k], whole.errors[0, 1, 1 - i, j, k])
        assert not torch.allclose(whole.errors[0, 1, i, j, k], whole.errors[0, 1, i, 1 - j, k])
        assert whole.errors[0, 1, i, j, k].square().mean() < first.errors[0, 0, i, j, k].square().mean()
    w, b, v = whole.layers(0.0, 1e-2, 40, 4)
    silu = torch.nn.functional.silu(w[:, :, None] * whole.x + b[:, :, None])
    outputs = (v[:, :, None] * silu).sum(1)
    offset = whole.errors[1, 1, 0, 1, 0] + whole.x**2 - outputs
    assert offset.std(1).max() < 1e-5
    again = train(Regression(whole.stacks[0], x, lottery.target(x), weight=weight), Adam(1e-9), 1)
    seen = lottery.nodes(lottery.LOOK)[0]
    errors = (again.problem.stack(seen) - lottery.target(seen))[..., 0].double()
    torch.testing.assert_close(errors[3:6], whole.errors[1, 0, 0, 1, 0], rtol=1e-4, atol=1e-5)


def test_starts_are_as_small_as_they_say():
    chart = lottery.chart([1e-6], [0.0, 0.03], [4, 16], [1], Setting(50))
    for start, bound in ((0.03, (0.03, 0.03, 0.03)), (0.0, (1, 1, 0.25))):
        for layer, most in zip(chart.layers(start, 1e-6, 1, 16), bound, strict=True):
            assert 0.9 * most < layer.abs().max() < most + 1e-3


def test_cooling_calms_a_network_that_jitters():
    chart = lottery.chart([3e-2], [0.1], [32], [1500], Setting(6))
    hot, cool = lottery.losses(chart.errors, chart.weight)[:, 0, 0, 0, 0]
    assert cool.median() < hot.median()


@pytest.mark.parametrize("bad", [{"rates": []}, {"starts": [-1.0]}, {"widths": [0]}, {"steps": [0]}])
def test_bad_maps_are_refused(bad):
    good = {"rates": [1e-3], "starts": [0.1], "widths": [4], "steps": [5]}
    with pytest.raises(ValueError, match=f"{next(iter(bad))}.*expected"):
        lottery.chart(**(good | bad), setting=Setting(2))


# ---- tickets -------------------------------------------------------------------------------------------------------------


def random_network(width):
    generator = torch.Generator().manual_seed(3)
    w, b, v = torch.rand(3, width, generator=generator).double()
    return w + 0.5, b, v + 0.5


def test_a_network_is_the_mean_of_its_tickets():
    (w, b, v), (x, weight) = random_network(6), nodes()
    y = x * x - (x * x * weight).sum()
    tickets = lottery.tickets(w, b, v, x, weight)
    even = (v[:, None] * torch.nn.functional.silu(w[:, None] * x + b[:, None])).sum(0)
    even = (even + even.flip(0)) / 2  # the nodes are symmetric
    even = even - (even * weight).sum()
    assert len(tickets.part) == 6
    torch.testing.assert_close((tickets.part[:, None] * tickets.errors).sum(0), even - tickets.part.sum() * y)
    scale = tickets.part.sum()
    torch.testing.assert_close(tickets.kept()[-1], lottery.losses(even / scale - y, weight))


def test_alike_tickets_do_not_average_and_independent_ones_do():
    _, weight = nodes()
    part, one = torch.full((4,), 0.25).double(), torch.randn(32).double()
    alike = lottery.Tickets(part, one.expand(4, -1), weight)
    torch.testing.assert_close(alike.kept(), lottery.losses(one, weight).expand(4))
    torch.testing.assert_close(alike.correlation, torch.ones(4, 4).double())
    basis = torch.linalg.qr(torch.randn(32, 4).double()).Q.T / weight.sqrt()
    apart = lottery.Tickets(part, basis, weight)
    torch.testing.assert_close(apart.kept(), 1 / torch.arange(1, 5).double())
    torch.testing.assert_close(apart.independent(), apart.kept())


def test_neurons_that_take_no_part_are_no_tickets():
    w, b, v = torch.tensor([[1.0, -1.0, 0.1, 2.0], [0, 0, 0, 0], [1.0, 1.0, 1.0, -1.0]]).double()
    assert len(lottery.tickets(w, b, v, *nodes()).part) == 2


# ---- single runs ---------------------------------------------------------------------------------------------------------


def test_a_sweep_equals_its_widths_trained_alone():
    together = lottery.sweep([2, 5], Adam(1e-2), 40, Setting(3, "relu"), dimension=2)
    alone = lottery.sweep([2], Adam(1e-2), 40, Setting(3, "relu"), dimension=2)
    assert together.errors.shape == (2, 3, 1024)
    assert together.sizes.tolist() == [9, 21]
    assert [sum(t[0].numel() for t in (W, b, V, c)) for (W, b), (V, c) in together.stack.layers()] == [9, 21]
    torch.testing.assert_close(together.errors[:1], alone.errors, rtol=1e-4, atol=1e-5)


def test_neurons_drawn_from_a_square_lie_along_an_axis_as_often_as_the_ratio_says():
    run = lottery.sweep([200, 300], Adam(1e-9), 1, Setting(20, "relu"), dimension=2)
    share = lottery.along_axes(run, 0.3)
    assert share.shape == (20,)
    assert share.mean().item() == pytest.approx(0.3, abs=0.02)


def test_symmetric_pairs_are_recognised():
    run = lottery.sweep([2], Adam(3e-2, schedule=drops(1500)), 1500, Setting(64), smooth=True)
    found = lottery.symmetric(run)
    assert run.losses[0, run.losses[0].argmin()] < 1e-2
    for (w, b, v), yes in zip(zip(*lottery.layers(run), strict=True), found, strict=True):
        unlike = [abs(p[0] - sign * p[1]) / (abs(p[0]) + abs(p[1])) for p, sign in ((w, -1), (b, 1), (v, 1))]
        assert bool(yes) == (max(unlike) < 0.1)
    assert 0 < found.sum() < 64


def test_mirror_distance_knows_the_axis():
    w, b = torch.randn(3, 50), torch.randn(3, 50)
    mirror, control = lottery.mirror_distance(torch.cat([w, -w], 1), torch.cat([b, b], 1))
    assert mirror.shape == control.shape == (3, 100)
    assert mirror.max() < 1e-2
    assert control.mean() > 0.05


def test_levenberg_marquardt_goes_far_below_adam():
    best = lottery.floor([4], 60, Setting(6))
    assert best.shape == (1, 6)
    adam = lottery.sweep([4], Adam(1e-3), 500, Setting(6), smooth=True)
    assert best.median() < 1e-3 * adam.losses.median()


@pytest.mark.parametrize(("widths", "seeds", "steps"), [([], 2, 5), ([0], 2, 5), ([4], 0, 5), ([4], 2, 0), ([4.5], 2, 5)])
def test_bad_sweeps_are_refused(widths, seeds, steps):
    with pytest.raises(ValueError, match="expected"):
        lottery.sweep(widths, Adam(1e-3), steps, Setting(seeds))


# ---- the page ------------------------------------------------------------------------------------------------------------
