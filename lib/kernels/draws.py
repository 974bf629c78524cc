"""Random numbers that C++ (`fused/draws.h`), and so the page, draws alike: a number depends on a seed and its place alone.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) as a counter-based generator.
A live scene begins and goes on with these numbers, and so can a notebook: both train the same networks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .mlp import layer_views, parameter_count

STEP = np.uint64(0x9E3779B97F4A7C15)
FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _scramble(z):
    z = (z ^ (z >> np.uint64(30))) * FACTORS[0]
    z = (z ^ (z >> np.uint64(27))) * FACTORS[1]
    return z ^ (z >> np.uint64(31))


def _draw(seed, places):
    """The numbers of 64 bits at `places` (uint64) of the stream `seed`."""
    start = _scramble(np.asarray(seed, np.uint64)[None] + STEP)
    return _scramble(start + (places + np.uint64(1)) * STEP)


def uniform(seed: int, count: int, place: int = 0) -> Float[Tensor, " count"]:
    """`count` numbers in [0, 1) with 53 bits, float64, from `place` on."""
    places = np.arange(place, place + count, dtype=np.uint64)
    return torch.from_numpy((_draw(seed, places) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def pick_rows(seed: int, steps: range, counts: Int[Tensor, " members"], batch: int) -> Int[Tensor, "steps members batch"]:
    """Minibatches, as `problems.draw_rows` says, from this generator: a step has 2^32 places, a member of it 2^16."""
    places = np.array(steps, np.uint64)[:, None, None] << np.uint64(32)
    places = places + (np.arange(len(counts), dtype=np.uint64)[:, None] << np.uint64(16)) + np.arange(batch, dtype=np.uint64)
    return torch.from_numpy((_draw(seed, places) % counts.numpy().astype(np.uint64)[:, None]).astype(np.int64))


def start(
    seed: int, nets: Sequence[tuple[int, Sequence[Sequence[int]]]], scale: float | None = None
) -> Float[Tensor, " total"]:
    """First parameters of stacks of MLPs, packed, float64.

    Args:
        seed: of the stream.
        nets: for each group its number of members, and the layer sizes of each of the MLPs that lie next to each other in
            one member.
        scale: None for PyTorch's default, weights and biases ~ U(-1, 1)/sqrt(fan in); a number for U(-scale, scale)
            throughout and zero output biases.
    """
    counts = [members * sum(map(parameter_count, parts)) for members, parts in nets]
    theta = uniform(seed, sum(counts)) * 2 - 1
    for (members, parts), block in zip(nets, theta.split(counts), strict=True):
        rows = block.view(members, -1)
        for sizes, part in zip(parts, rows.split([parameter_count(sizes) for sizes in parts], 1), strict=True):
            for fan_in, layer in zip(sizes, layer_views(part, sizes), strict=False):
                for tensor in layer:
                    tensor.mul_(1 / np.sqrt(fan_in) if scale is None else scale)
            if scale is not None:
                layer_views(part, sizes)[-1][1].zero_()
    return theta
