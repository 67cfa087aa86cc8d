"""The output projection together with its loss, never holding all the logits at once.

Logits of a batch are N x V numbers, by far the largest tensor of a small model: writing them,
their log-softmax and its gradient to memory is a fifth of a training step. Here they are made,
turned into loss and gradient, and dropped again, some hundred tokens at a time.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK = 512
"""Tokens at a time: their logits (512 x 8,000 in float32 are 16 MB) stay within the cache."""


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Summed cross-entropy of ``logits`` [N, V] with label-smoothed ``targets`` [N].

    Szegedy et al. 2016, section 7: the target's probability is 1 - smoothing plus its share of
    the smoothing that is spread evenly over all V. The plain definition that
    :func:`projection_loss` is tested against.
    """
    log_probs = logits.log_softmax(-1)
    picked = log_probs.gather(1, targets[:, None]).sum()
    return -(1 - smoothing) * picked - smoothing * log_probs.mean(-1).sum()


def _log_of_top(probabilities: Tensor, dtype: torch.dtype) -> Tensor:
    """The logarithm of each row's largest probability.

    Near 1 a bfloat16 is a multiple of 1/256; there, what is left for the others says it exactly.
    """
    top = probabilities.amax(-1).to(dtype)
    others = probabilities.sum(-1, dtype=dtype) - top
    return torch.where(top > 0.5, torch.log1p(-others), top.log())


class _ProjectionLoss(torch.autograd.Function):
    """Loss and gradients in one pass; the backward only scales what is already there."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        smoothing: float,
        dtype: torch.dtype,
        loss_only: bool,
    ) -> Tensor:
        vocab = weight.size(0)
        cast = weight.detach().to(dtype)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight)
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        uniform = smoothing / vocab
        weight_sum = cast.sum(0, dtype=total.dtype)
        for start in range(0, hidden.size(0), CHUNK):
            h = hidden[start : start + CHUNK].detach().to(dtype)
            y = targets[start : start + CHUNK]
            at_target = torch.arange(len(y), device=y.device), y
            logits = h @ cast.t()  # [N, V]
            picked = logits[at_target].to(total.dtype)
            # The softmax stays in the type of the products that its gradient goes into. The loss
            # is exact to rounding all the same: log sum exp = logit - log softmax, at the top one.
            top = logits.amax(-1).to(total.dtype)
            probabilities = torch.softmax(logits, -1)
            normalizer = top - _log_of_top(probabilities, total.dtype)
            log_probs = picked - normalizer
            all_log_probs = (h.to(total.dtype) @ weight_sum - vocab * normalizer).sum()
            total -= (1 - smoothing) * log_probs.sum() + uniform * all_log_probs
            if loss_only:
                continue
            # d loss / d logits = softmax - smoothed target
            grad = probabilities.sub_(uniform) if smoothing else probabilities
            grad[at_target] = (log_probs.expm1() + (smoothing - uniform)).to(dtype)
            hidden_grad[start : start + CHUNK] = grad @ cast
            weight_grad += grad.t() @ h
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * gradients[0], weight_grad * gradients[0], None, None, None, None


def projection_loss(hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Summed label-smoothed cross-entropy of softmax(hidden weight^T) with ``targets``.

    Args:
        hidden: [N, D], one row for each real target token.
        weight: [V, D].
        targets: [N] token ids.
        smoothing: label smoothing.

    Returns:
        A scalar, differentiable with respect to ``hidden`` and ``weight``. Under autocast the
        products are made in its type; sums are float32 at least.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _ProjectionLoss.apply(hidden, weight, targets, smoothing, dtype, not torch.is_grad_enabled())
    return loss
