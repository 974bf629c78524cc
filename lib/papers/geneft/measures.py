"""What is measured on trained networks: phases, pairs that met, and the matrix that gradient flow conserves."""

import torch

from .repons import collision_probability

GENERALIZATION, GROKKING, MEMORIZATION, CONFUSION = PHASES = ("generalization", "grokking", "memorization", "confusion")


def phases(training, level=0.9, delay=1000):
    """The phase of every member, (members,) int64: an index into `PHASES`, by the definitions of the paper's Table IV.

    Confusion: accuracy on the pairs seen never passes `level`. Memorization: it does, but on the pairs not seen it never
    does. Else grokking if the second came `delay` steps or more after the first, and generalization if sooner.
    """
    above = training.accuracies > level
    first = training.steps[above.int().argmax(0)]  # (2, members), meaningless where never above
    ever = above.any(0)
    late = first[1] - first[0] >= delay
    return torch.where(~ever[0], 3, torch.where(~ever[1], 2, late.long()))


def collided(problem):
    """Share of the pairs of one class that have met, (members,): nearer than a quarter of the mean gap between classes."""
    gap = torch.cdist(problem.points, problem.points, compute_mode="donot_use_mm_for_euclid_dist")
    other = ~torch.eye(problem.tokens, dtype=torch.bool, device=problem.theta.device)
    within, between = problem.labels & other, ~problem.labels
    unit = (gap * between).sum((1, 2)) / between.sum((1, 2))
    return ((gap < unit[:, None, None] / 4) & within).sum((1, 2)) / within.sum((1, 2))


def explained(curves, share):
    """How much of the variance of `share` (…, cells) the best of some curves (G, cells) explains, (…), and which one, (…).

    One minus the sum of squared differences over the sum of squared deviations from the mean; no curve is shifted or scaled.
    """
    error = (share[..., None, :] - curves).square().sum(-1)
    best, which = error.min(-1)
    return 1 - best / (share - share.mean(-1, keepdim=True)).square().sum(-1), which


def straight(x, share):
    """How much of the variance of `share` (…, cells) the best straight line in x (cells,) explains, (…)."""
    dx, dy = x - x.mean(), share - share.mean(-1, keepdim=True)
    return (dx * dy).sum(-1).square() / (dx.square().sum() * dy.square().sum(-1))


def arctan_curves(log_ratio, spreads):
    """The chance of a collision at rate ratios 10**log_ratio (cells,), one curve for each of `spreads` (G,): (G, cells)."""
    return torch.from_numpy(collision_probability(10 ** log_ratio.numpy(), spread=spreads.numpy()[:, None]))


def step_curves(log_ratio, places):
    """The rival without a theory: all generalize up to a ratio and none beyond, one curve for each of `places` (G,)."""
    return (log_ratio <= places[:, None]).double()


def boundary(encoder, decoder, share):
    """The line in the plane of the log rates on which half of the networks generalize, by logistic regression.

    log odds = β₀ + β₁ encoder + β₂ decoder, fitted by Newton's method to all cells at once, with a ridge of 0.01 that keeps
    a perfectly sharp boundary finite.

    Args:
        encoder, decoder: log10 of the rates of each cell, (cells,).
        share: of the networks that generalize, (…, cells).

    Returns:
        slope d decoder / d encoder along the boundary, (…), and log10 of decoder over encoder where half generalize, (…), at
        the mean of the encoder's rates.
    """
    centre = encoder.mean()
    X = torch.stack([torch.ones_like(encoder), encoder - centre, decoder - centre], 1)
    beta = share.new_zeros(*share.shape[:-1], 3)
    ridge = 0.01 * torch.eye(3, dtype=X.dtype)
    for _ in range(30):
        p = torch.sigmoid(beta @ X.T)
        pull = (share - p) @ X - beta @ ridge
        curvature = X.T @ ((p * (1 - p)).unsqueeze(-1) * X) + ridge
        beta = beta + torch.linalg.solve(curvature, pull).clamp(-2, 2)
    return -beta[..., 1] / beta[..., 2], -beta[..., 0] / beta[..., 2]


def conserved_parts(problem, encoder_rate, decoder_rate):
    """The two parts of the matrix Q that gradient flow conserves in a whole network, (2, members, d, d).

    Q = (W_aᵀW_a + W_bᵀW_b)/eta_dec - Σ_i E_i E_iᵀ/eta_enc, where W_a and W_b act on the first and on the second point; any
    depth, activation, loss and data (the chapter's derivation). Q is the first part minus the second.

    Raises:
        ValueError: if the decoder does not read the concatenation.
    """
    if problem.mode != "concatenation":
        raise ValueError(f"mode = {problem.mode!r}: expected 'concatenation'")
    parts = []
    for points, layers in problem.unpack():
        a, b = layers[0][0].split(problem.dim, 2)
        parts.append(torch.stack([(a.mT @ a + b.mT @ b) / decoder_rate, points.mT @ points / encoder_rate]))
    return torch.cat(parts, 1)
