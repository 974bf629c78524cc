"""What an interface gives away: students copy a model from its answers. This chapter's own."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...kernels.mlp import Stack, parameter_count, random_stack
from ...kernels.optimisers import Adam
from ...kernels.problems import Differentiable
from ...kernels.training import train
from .handles import Remote
from .zoo import PIXELS, SIZES

RATE = 3e-3  # of the students


def extract(handle: Remote, x: Float[Tensor, "points in"], kind: str, steps: int, seed: int = 0) -> Stack:
    """Copy models through their interface: students of the same architecture learn from the answers on x (n, INPUTS).

    Args:
        handle: what the thief may use.
        x: his queries.
        kind: "label"; "logit"; or "gradient", which is the scores and the gradient of the highest one by the pixels.
        steps: of Adam, full batch.
        seed: of the students.

    Returns:
        A stack of students, one a model.
    """
    students = random_stack([(handle.members, SIZES)], "relu", seed=seed, device=x.device)
    inputs = x.expand(handle.members, -1, -1)
    answers = handle.labels(x) if kind == "label" else handle.logits(x)
    if kind == "gradient":
        top = answers.argmax(2, keepdim=True)
        slopes = handle.gradient(inputs, lambda z: z.gather(2, top)[..., 0])[1][..., :PIXELS]

    def loss(parameters, members, step):
        stack = replace(students, theta=parameters["theta"].flatten())
        if kind == "label":
            return F.cross_entropy(stack(inputs).transpose(1, 2), answers, reduction="none").mean(1)
        with torch.enable_grad():
            own = inputs.clone().requires_grad_(kind == "gradient")
            logits = stack(own)
            total = (logits - answers).square().mean((1, 2)) / answers.var((1, 2))
            if kind == "gradient":
                (mine,) = torch.autograd.grad(logits.gather(2, top).sum(), own, create_graph=True)
                total = total + (mine[..., :PIXELS] - slopes).square().mean((1, 2)) / slopes.var((1, 2))
        return total

    theta = students.theta.view(handle.members, parameter_count(SIZES))
    run = train(Differentiable(loss, {"theta": theta}), Adam(RATE), steps)
    return replace(students, theta=run.problem.theta)


def agreement(handle: Remote, students: Stack, x: Float[Tensor, "points in"]) -> Float[Tensor, " members"]:
    """Share of inputs x (P, INPUTS) on which student and model give the same label, (members,)."""
    with torch.no_grad():
        return (students(x).argmax(2) == handle.labels(x)).float().mean(1)
