"""Checks of tensors, so that every kernel refuses bad input in the same words."""

from typing import Any

import torch
from torch import Tensor


def check_tensor(
    name: str,
    value: Any,
    dims: int | tuple[int, ...] | None = None,
    *,
    floating: bool = True,
    like: Tensor | None = None,
    finite: bool = True,
) -> Tensor:
    """Return `value` if it is a non-empty tensor as described, or raise.

    Args:
        name: the argument's name.
        value: what was given.
        dims: allowed number of dimensions; None allows any.
        floating: whether its dtype must be floating.
        like: a tensor whose dtype and device it must share.
        finite: whether NaN and infinity are refused (costs one pass and one host sync).

    Raises:
        ValueError: naming the argument, what it is and what was expected.
    """
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} = {value!r}: expected a torch.Tensor")
    here = f"{name} = tensor of shape {tuple(value.shape)}, {value.dtype}, {value.device}"
    allowed = (dims,) if isinstance(dims, int) else dims
    if allowed and value.dim() not in allowed:
        raise ValueError(f"{here}: expected {' or '.join(map(str, allowed))} dimensions")
    if value.numel() == 0:
        raise ValueError(f"{here}: expected at least one element")
    if floating and not value.dtype.is_floating_point:
        raise ValueError(f"{here}: expected a floating dtype")
    if like is not None and (value.dtype != like.dtype or value.device != like.device):
        raise ValueError(f"{here}: expected {like.dtype} on {like.device}")
    if finite and floating and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{here}: expected finite values, found {value[~torch.isfinite(value)][0].item()}")
    return value
