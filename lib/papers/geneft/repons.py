"""The effective theory of the dynamics: points as particles ("repons") that a linear decoder pulls together.

Two repons of one class at distance 2r under a decoder A (k outputs, d inputs) whose mean error is zero follow

    dA/dt = -2 eta_A A r rᵀ,    dr/dt = -eta_x Aᵀ A r,

so that Q = AᵀA/eta_A - 2 r rᵀ/eta_x never changes. For d = k = 1 this is the paper's pair a, c (Eq. 10 and 11).
"""

import numpy as np
import torch
from scipy.special import betainc

from ...checks import check


def closed_form(a0, c0, decoder_rate, encoder_rate, t):
    """a(t) and c(t) of da/dt = -2 eta_A c² a, dc/dt = -eta_x a² c; all arguments broadcast (the chapter's derivation).

    With K = eta_x a0² - 2 eta_A c0², which is 2 eta_A eta_x times the conserved quantity and does not change,
    c² = c0² / (1 + eta_x a0² (e^{2Kt} - 1)/K) and a² = a0² / (1 + 2 eta_A c0² (1 - e^{-2Kt})/K).
    """
    a0, c0, t = np.broadcast_arrays(np.asarray(a0, float), c0, t)
    pull, push = encoder_rate * a0**2, 2 * decoder_rate * c0**2
    K = pull - push
    safe = np.where(np.abs(K * t) < 1e-12, 1.0, K)

    def growth(sign):
        return np.where(np.abs(K * t) < 1e-12, 2 * t, np.expm1(np.minimum(2 * sign * K * t, 700.0)) / (sign * safe))

    return a0 / np.sqrt(1 + push * growth(-1)), c0 / np.sqrt(1 + pull * growth(1))


def rk4(slope, state, step):
    """One step of the classical Runge-Kutta method; `step` broadcasts with `state`."""
    k1 = slope(state)
    k2 = slope(state + step / 2 * k1)
    k3 = slope(state + step / 2 * k2)
    return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + slope(state + step * k3))


def repon_flow(A, r, decoder_rate, encoder_rate, steps, step=None):
    """Integrate the two repons: A (M, k, d) and r (M, d) after `steps` Runge-Kutta steps.

    `step` is the time of one step; None gives each member its own, 0.3 of the shorter of its two time scales, anew at every
    step: right for the state that is reached in the end.
    """
    check("steps", steps, int, low=1)
    members, k, d = A.shape
    state = torch.cat([A.flatten(1), r], 1)

    def slope(state):
        A, r = state[:, : k * d].view(members, k, d), state[:, k * d :, None]
        s = A @ r
        return torch.cat([(-2 * decoder_rate * s @ r.mT).flatten(1), (-encoder_rate * A.mT @ s)[..., 0]], 1)

    for _ in range(steps):
        now = step
        if step is None:
            fast = torch.maximum(
                encoder_rate * state[:, : k * d].square().sum(1), 2 * decoder_rate * state[:, k * d :].square().sum(1)
            )
            now = 0.3 / fast[:, None]
        state = rk4(slope, state, now)
    return state[:, : k * d].view(members, k, d), state[:, k * d :]


def conserved(A, r, decoder_rate, encoder_rate):
    """Q = AᵀA/eta_A - 2 r rᵀ/eta_x, (M, d, d): positive semidefinite means that the repons collide."""
    return A.mT @ A / decoder_rate - 2 * r[:, :, None] * r[:, None] / encoder_rate


def draw_repons(draws, dim, outputs, seed, decoder_scale=1.0, repon_scale=1.0):
    """A (draws, outputs, dim) and r (draws, dim), Gaussian with the given standard deviations, float64."""
    generator = torch.Generator().manual_seed(seed)
    A = decoder_scale * torch.randn(draws, outputs, dim, generator=generator, dtype=torch.float64)
    return A, repon_scale * torch.randn(draws, dim, generator=generator, dtype=torch.float64)


def collision_probability(ratio, dim=1, outputs=1, spread=1.0):
    """Chance that two random repons collide, for rates in `ratio` = eta_A/eta_x; broadcasts.

    With X = spread²/(2 ratio), spread = s_a/s_c the decoder's over the repons' initial scale: the regularised incomplete
    beta function I_{X/(1+X)}(d/2, (k - d + 1)/2), and 0 for k < d (the chapter's derivation). For d = k = 1 it is
    (2/π) arctan(spread sqrt(1/(2 ratio))), the paper's Eq. 12.
    """
    check("dim", dim, int, low=1)
    check("outputs", outputs, int, low=1)
    X = np.asarray(spread, float) ** 2 / (2 * np.asarray(ratio, float))
    return betainc(dim / 2, (outputs - dim + 1) / 2, X / (1 + X)) if outputs >= dim else np.zeros_like(X)
