"""Two passes under different dropout that should predict the same.

Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 1 to 4.
"""

from typing import Any

import torch
from torch import Tensor

from seqloom.layers.projection import CHUNK, smoothed_cross_entropy


def consistency_loss(a: Tensor, b: Tensor, targets: Tensor, smoothing: float, weight: float) -> Tensor:
    """The plain definition, from the logits [N, V] of two passes.

    Half of the paper's loss, so that without the second term it is that of one pass:
    (CE(a) + CE(b)) / 2 + weight / 2 * (KL(a, b) + KL(b, a)) / 2, summed over N tokens.
    """
    log_a, log_b = a.log_softmax(-1), b.log_softmax(-1)
    apart = ((log_a.exp() - log_b.exp()) * (log_a - log_b)).sum()
    both = smoothed_cross_entropy(a, targets, smoothing) + smoothed_cross_entropy(b, targets, smoothing)
    return both / 2 + weight / 4 * apart


class _ProjectionConsistency(torch.autograd.Function):
    """Loss and gradients in one pass over the logits, some hundred tokens at a time."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, output: Tensor, targets: Tensor, smoothing: float, weight: float
    ) -> Tensor:
        device = a.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else a.dtype
        exact = torch.promote_types(a.dtype, torch.float32)
        cast = output.detach().to(dtype)
        gradients = torch.empty_like(a), torch.empty_like(b)
        output_gradient = torch.zeros_like(output)
        total = torch.zeros((), dtype=exact, device=a.device)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(a), CHUNK):
                rows = slice(start, start + CHUNK)
                y = targets[rows]
                at_target = torch.arange(len(y), device=y.device), y
                hidden = [each[rows].detach().to(dtype) for each in (a, b)]
                log_probs = [(each @ cast.t()).to(exact).log_softmax(-1) for each in hidden]
                probs = [each.exp() for each in log_probs]
                for log_prob in log_probs:
                    total -= ((1 - smoothing) * log_prob[at_target].sum() + smoothing * log_prob.mean(-1).sum()) / 2
                apart, gap = log_probs[0] - log_probs[1], probs[0] - probs[1]
                total += weight / 4 * (gap * apart).sum()
                for sign, p, h, gradient in zip((1, -1), probs, hidden, gradients, strict=True):
                    # d KL(p, q) / d logits of p = p (log p/q - KL(p, q));  of KL(q, p) = p - q
                    towards = sign * apart
                    change = p * (towards - (p * towards).sum(-1, keepdim=True)) + sign * gap
                    change.mul_(weight / 4).add_(p, alpha=0.5).sub_(smoothing / 2 / output.size(0))
                    change[at_target] -= (1 - smoothing) / 2
                    change = change.to(dtype)
                    gradient[rows] = change @ cast
                    output_gradient += change.t() @ h
        ctx.save_for_backward(*gradients, output_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        a, b, output = (saved * gradients[0] for saved in ctx.saved_tensors)
        return a, b, output, None, None, None


def projection_consistency(
    a: Tensor, b: Tensor, output: Tensor, targets: Tensor, smoothing: float, weight: float
) -> Tensor:
    """:func:`consistency_loss` of ``a output^T`` and ``b output^T``, never holding all the logits.

    Args:
        a, b: [N, D], the same tokens under two dropout masks.
        output: [V, D].
        targets: [N] token ids.
        smoothing: label smoothing.
        weight: alpha, of the divergence.
    """
    loss: Tensor = _ProjectionConsistency.apply(a, b, output, targets, smoothing, weight)
    return loss
