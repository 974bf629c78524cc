import math

import numpy as np
import pytest
import torch

from lib.papers import lottery


def fake_sweep(errors, steps=(100,)):
    """A sweep whose errors (K, seeds, P) are given, at SiLU's nodes."""
    x, weight = lottery.points("silu")
    outputs = (lottery.target(x[:, 0]) + errors)[None].expand(len(steps), -1, -1, -1)
    return lottery.Sweep(torch.arange(1, len(errors) + 1), torch.tensor(steps), x[:, 0], weight, outputs, None)


@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_points_average_over_the_interval(activation):
    x, weight = (t.double() for t in lottery.points(activation))
    assert x.abs().max() <= lottery.R
    assert weight.sum().item() == pytest.approx(1, rel=1e-6)
    assert (weight * x[:, 0] ** 4).sum().item() == pytest.approx(16 / 5, rel=1e-5 if activation == "silu" else 0.05)


def test_quartic_is_orthogonal_to_parabolas_and_has_norm_one_ninth():
    x, weights = np.polynomial.legendre.leggauss(8)  # exact for polynomials up to degree 15
    p4 = lottery.quartic(lottery.R * torch.from_numpy(x)).numpy()
    assert [abs(weights @ (p4 * x**power)) < 1e-12 for power in (0, 1, 2)] == [True] * 3
    assert weights @ p4**2 / 2 == pytest.approx(1 / 9)


def test_the_law_of_mirror_pairs_becomes_exact_as_weights_shrink():
    """The best fit of x² by s(wx) + s(-wx) and a constant leaves KAPPA R⁸ w⁴."""
    x, weight = (t.double() for t in lottery.points("silu"))
    root, ratios = weight.sqrt(), []
    for w in (0.4, 0.2, 0.1):
        pair = (w * x[:, 0]) * torch.tanh(w * x[:, 0] / 2)
        design = torch.stack([pair, torch.ones_like(pair)], 1) * root[:, None]
        fit = torch.linalg.lstsq(design, (lottery.target(x) * root[:, None])).solution
        loss = (design @ fit - lottery.target(x) * root[:, None]).square().sum()
        ratios.append((loss / (lottery.KAPPA * lottery.R**8 * w**4)).item())
    # fitting the pair's own x² and x⁴ together leaves the P4 part of -(w²/12)x⁴, larger orders vanish with w²
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1)
    assert ratios[2] == pytest.approx(1, abs=0.01)


def test_bias_and_variance_of_known_errors():
    torch.manual_seed(1)
    shape = lottery.quartic(lottery.points("silu")[0][:, 0])
    common, own = torch.randn(1, 400, 1) * 0 + 0.3, torch.randn(1, 400, 1) * 0.1
    run = fake_sweep((common + own) * shape)
    assert lottery.bias_share(run, 100).item() == pytest.approx(0.09 / 0.10, rel=0.02)
    assert lottery.quartic_share(run, 100).item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_averaging_divides_independent_errors_and_keeps_common_ones(size):
    torch.manual_seed(2)
    independent = fake_sweep(torch.randn(1, 1600, 32))
    assert lottery.ensemble_loss(independent, 100, size).item() == pytest.approx(1 / size, rel=0.1)
    common = fake_sweep(torch.randn(1, 1, 32).expand(1, 32, 32))
    assert lottery.ensemble_loss(common, 100, size).item() == pytest.approx(1)


def test_exponents_of_a_known_law():
    n = torch.arange(1, 7)
    run = fake_sweep((n.float() ** -0.75)[:, None, None] * torch.ones(6, 5, 32))
    assert run.exponents().tolist() == pytest.approx([1.5], rel=1e-5)
    alpha, low, high = run.exponent(100, 2, 5)
    assert low == pytest.approx(high)
    assert alpha == pytest.approx(1.5, rel=1e-5)


def test_peaks_are_clusters_of_equal_losses():
    losses = torch.cat([torch.full((30,), 0.01), torch.full((60,), 1.0), torch.logspace(-4, -3, 10)])
    assert lottery.peaks(losses) == [(pytest.approx(0.01), 0.3), (pytest.approx(1.0), 0.6)]


def test_mirror_distance_knows_the_axis():
    w, b = torch.randn(3, 50), torch.randn(3, 50)
    mirror, control = lottery.mirror_distance(torch.cat([w, -w], 1), torch.cat([b, b], 1))
    assert mirror.shape == control.shape == (3, 100)
    assert mirror.max() < 1e-2
    assert control.mean() > 0.05


def test_a_sweep_equals_its_widths_trained_alone():
    together = lottery.sweep([2, 5], 3, lottery.Adam(1e-2), 40, at=[10])
    assert together.outputs.shape == (2, 2, 3, 32)
    assert together.losses.shape == (2, 2, 3)
    alone = lottery.sweep([2], 3, lottery.Adam(1e-2), 40, at=[10])
    torch.testing.assert_close(together.outputs[:, :1], alone.outputs, rtol=1e-4, atol=1e-5)
    assert together.losses[1].max() < 2 * together.losses[0].max()


def test_symmetric_pairs_are_recognised():
    losses, (w, b, v), symmetric = lottery.pairs(64, lottery.Adam(3e-2), 1500)
    assert losses.shape == symmetric.shape == (64,)
    i = losses.argmin()
    assert losses[i] < 1e-2
    by_hand = [
        max(
            abs(w[k, 0] + w[k, 1]) / w[k].abs().sum(),
            abs(b[k, 0] - b[k, 1]) / b[k].abs().sum(),
            abs(v[k, 0] - v[k, 1]) / v[k].abs().sum(),
        )
        < 0.1
        for k in range(64)
    ]
    assert symmetric.tolist() == [bool(s) for s in by_hand]


def test_tickets_count_who_carries_the_parabola():
    w, v = torch.tensor([[1.0, -1.0, 0.1, 2.0]]), torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    assert lottery.participating(w, v).tolist() == [[True, True, False, False]]


def test_levenberg_marquardt_goes_far_below_adam():
    best = lottery.floor([4], 6, 60)
    assert best.shape == (1, 6)
    adam = lottery.sweep([4], 6, lottery.Adam(1e-3), 500, scale=0.1)
    assert best.median() < 1e-3 * adam.losses[-1].median()


def test_the_map_gives_each_cell_its_own_rate_and_scale():
    at = [20, 40]
    whole = lottery.exponent_map([1e-3, 1e-2], [0.0, 0.1], [4, 8], 2, 40, at)
    assert whole.shape == (2, 2, 2)
    assert math.isfinite(whole.sum())
    fast = lottery.exponent_map([1e-2], [0.1], [4, 8], 2, 40, at)
    assert not torch.allclose(whole[0, 0], whole[1, 0])
    assert not torch.allclose(whole[1, 0], whole[1, 1])
    assert fast.shape == (1, 1, 2)


@pytest.mark.parametrize(("widths", "seeds", "steps"), [([], 2, 5), ([0], 2, 5), ([4], 0, 5), ([4], 2, 0), ([4.5], 2, 5)])
def test_bad_sweeps_are_refused(widths, seeds, steps):
    with pytest.raises(ValueError, match="expected"):
        lottery.sweep(widths, seeds, lottery.Adam(1e-3), steps)
