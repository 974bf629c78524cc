"""What is measured on trained networks: phases, clusters, and the matrix that gradient flow conserves."""

import math

import torch

from .statics import crossing

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


def distances(points):
    """Distances between all points of each member, (members, n, n), from (members, n, d)."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def clustering(model):
    """Mean distance within a class over that between classes, (members,); the labels must be "same class"."""
    gap, other = distances(model.points), ~torch.eye(model.labels.shape[1], dtype=torch.bool, device=model.theta.device)
    within, between = model.labels & other, ~model.labels
    return (gap * within).sum((1, 2)) / within.sum((1, 2)) / ((gap * between).sum((1, 2)) / between.sum((1, 2)))


def conserved_parts(model, encoder_rate, decoder_rate):
    """The two parts of the matrix Q that gradient flow conserves in a whole network, (2, members, d, d).

    Q = (W_aᵀW_a + W_bᵀW_b)/eta_dec - Σ_i E_i E_iᵀ/eta_enc, where W_a and W_b act on the first and on the second point; any
    depth, activation, loss and data (the chapter's derivation). Q is the first part minus the second.

    Raises:
        ValueError: if the decoder does not read the concatenation.
    """
    if model.mode != "concatenation":
        raise ValueError(f"mode = {model.mode!r}: expected 'concatenation'")
    parts = []
    for points, layers in model.unpack():
        a, b = layers[0][0].split(model.dim, 2)
        parts.append(torch.stack([(a.mT @ a + b.mT @ b) / decoder_rate, points.mT @ points / encoder_rate]))
    return torch.cat(parts, 1)


def critical_ratio(ratios, accuracies, level=0.9):
    """Rate ratio at which the median accuracy over seeds falls through `level`, interpolated in log10; log10 of it.

    Args:
        ratios: eta_dec/eta_enc, (R,), ascending.
        accuracies: (R, seeds).
    """
    logs = [math.log10(r) for r in ratios]
    return -crossing([-x for x in reversed(logs)], accuracies.quantile(0.5, dim=1).flip(0), level)
