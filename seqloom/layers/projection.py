"""The output projection together with its loss, never holding all the logits at once.

Logits of a batch are N x V numbers, by far the largest tensor of a small model: writing them,
their log-softmax and its gradient to memory is a fifth of a training step. Here they are made,
turned into loss and gradient, and dropped again, some hundred tokens at a time.
"""

from typing import Any

import torch
from torch import Tensor

from seqloom.layers.linear import filled

CHUNK = 1024
"""Tokens at a time: fewer, and adding up the gradients of the weights costs too much; more, and memory does."""
GPU_CHUNK = 8192
"""A GPU wants large products, and has the memory."""


def chunk_of(device: torch.device) -> int:
    """Tokens whose logits are made at a time."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Summed cross-entropy of ``logits`` [N, V] with label-smoothed ``targets`` [N].

    Szegedy et al. 2016, section 7: the target's probability is 1 - smoothing plus its share of
    the smoothing that is spread evenly over all V. The plain definition that
    :func:`projection_loss` is tested against.
    """
    log_probs = logits.log_softmax(-1)
    picked = log_probs.gather(1, targets[:, None]).sum()
    return -(1 - smoothing) * picked - smoothing * log_probs.mean(-1).sum()


def log_probabilities(logits: Tensor, targets: Tensor, probabilities: Tensor, others: Tensor) -> Tensor:
    """log softmax at the targets [N], from the softmax that is there already.

    Near 1 a bfloat16 is a multiple of 1/256; there, what is left for the others says it exactly. And
    where a probability is too small for its type, or a device would have to be waited for to know,
    it is made again from the logits.
    """
    exact = others.dtype
    rows = torch.arange(len(targets), device=targets.device)
    if logits.device.type != "cpu" or not probabilities.all():
        return logits[rows, targets].to(exact) - logits.to(exact).logsumexp(-1)
    at_target = probabilities.to(exact)
    return torch.where(at_target > 0.5, torch.log1p(-others), at_target.log())


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
        inputs = filled(hidden.detach().to(dtype))
        exact = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=exact, device=hidden.device)
        uniform = smoothing / vocab
        # d loss / d logits = softmax - smoothed target. What smoothing takes from all logits alike is
        # a sum of rows of the one factor, the same for each row of the other.
        weight_sum = cast.sum(0, dtype=exact)
        hidden_grad = torch.empty_like(inputs)
        weight_grad = (-uniform * inputs.sum(0, dtype=exact)).to(weight.dtype).expand_as(weight).contiguous()
        from_uniform = (-uniform * weight_sum).to(dtype)
        chunk = chunk_of(hidden.device)
        for start in range(0, len(inputs), chunk):
            h, y = inputs[start : start + chunk], targets[start : start + chunk]
            at_target = torch.arange(len(y), device=y.device), y
            logits = h @ cast.t()  # [N, V]
            # The softmax stays in the type of the products that its gradient goes into.
            grad = torch.softmax(logits, -1)
            grad[len(y) :] = 0  # of rows that only fill
            probabilities = grad[at_target]
            grad[at_target] = 0
            others = grad[: len(y)].sum(-1).to(exact)
            log_probs = log_probabilities(logits[: len(y)], y, probabilities, others)
            normalizer = logits[at_target].to(exact) - log_probs
            all_log_probs = (h[: len(y)].to(exact) @ weight_sum - vocab * normalizer).sum()
            total -= (1 - smoothing) * log_probs.sum() + uniform * all_log_probs
            if loss_only:
                continue
            grad[at_target] = (log_probs.expm1() + smoothing).to(dtype)
            torch.addmm(from_uniform, grad, cast, out=hidden_grad[start : start + chunk])
            weight_grad += grad.t() @ h
        ctx.save_for_backward(hidden_grad[: len(hidden)].to(hidden.dtype), weight_grad)
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
