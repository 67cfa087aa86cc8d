"""Two passes under different dropout that should predict the same.

Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 1 to 4.
"""

from typing import Any

import torch
from torch import Tensor

from seqloom.layers.linear import filled
from seqloom.layers.projection import chunk_of, log_probabilities, smoothed_cross_entropy


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
    """Loss and gradients in one pass over the logits, some hundred tokens of either side at a time.

    With D the difference of the logits of this side and the other, q the other's probabilities and
    m the mean of D under p, the gradient of both divergences to the logits of this side is
    p (D - m) + p - q. Probabilities stay in the type of the products, as in
    :func:`seqloom.layers.projection.projection_loss`, and what concerns a target is exact.
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        output: Tensor,
        targets: Tensor,
        smoothing: float,
        weight: float,
        dtype: torch.dtype,
    ) -> Tensor:
        vocab = len(output)
        cast = output.detach().to(dtype)
        inputs = torch.stack([filled(each.detach().to(dtype)) for each in (a, b)])  # [2, N, D]
        exact = torch.promote_types(a.dtype, torch.float32)
        total = torch.zeros((), dtype=exact, device=a.device)
        uniform = smoothing / vocab
        weight_sum = cast.sum(0, dtype=exact)
        hidden_grad = torch.empty_like(inputs)
        output_grad = (-uniform / 2 * inputs.sum((0, 1), dtype=exact)).to(output.dtype).expand_as(output).contiguous()
        from_uniform = (-uniform / 2 * weight_sum).to(dtype)
        chunk = max(1, chunk_of(a.device) // 2)
        half = weight / 2
        signs = torch.tensor([[1.0], [-1.0]], dtype=exact, device=a.device)
        for start in range(0, len(targets), chunk):
            h, y = inputs[:, start : start + chunk], targets[start : start + chunk]
            real = len(y)
            at_target = slice(None), torch.arange(real, device=y.device), y
            rows = h.flatten(0, 1)
            logits = (rows @ cast.t()).unflatten(0, h.shape[:2])  # [2, N, V]
            probs = torch.softmax(logits, -1)
            probs[:, real:] = 0  # of rows that only fill
            found, probs[at_target] = probs[at_target], 0
            others = probs[:, :real].sum(-1).to(exact)
            log_p = torch.stack([log_probabilities(logits[i, :real], y, found[i], others[i]) for i in (0, 1)])
            p, at_logits = log_p.exp(), logits[at_target].to(exact)
            normalizers = at_logits - log_p
            all_log_probs = (h[:, :real].to(exact) @ weight_sum - vocab * normalizers).sum()
            total -= ((1 - smoothing) * log_p.sum() + uniform * all_log_probs) / 2
            at_gap = signs * (at_logits[0] - at_logits[1])
            # From here on a half of the weight is in the products, and a half of the loss goes into the last ones.
            grad = probs * (logits[0] - logits[1]).mul_(half)
            grad[1].neg_()
            means = grad[:, :real].sum(-1).to(exact) + half * p * at_gap
            # Rounded probabilities do not sum to 1, so what both logits differ by on the whole is taken off by them.
            shift = half * signs * (normalizers[0] - normalizers[1])
            divergences = means - shift * (others + p)
            total += divergences.sum() / 2
            of_probs = 1 + half - divergences - shift
            for this, other in ((0, 1), (1, 0)):
                grad[this].sub_(probs[other], alpha=half)
            grad[:, :real].addcmul_(probs[:, :real], of_probs[..., None].to(dtype))
            grad[at_target] = (
                half * (p * at_gap + p - p.flip(0)) - p * (divergences + shift) + log_p.expm1() + smoothing
            ).to(dtype)
            grad = grad.flatten(0, 1)
            products = torch.addmm(from_uniform, grad, cast, alpha=0.5)
            hidden_grad[:, start : start + chunk] = products.unflatten(0, h.shape[:2])
            output_grad.add_(grad.t() @ rows, alpha=0.5)
        ctx.save_for_backward(*hidden_grad[:, : len(a)].to(a.dtype), output_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        a, b, output = (saved * gradients[0] for saved in ctx.saved_tensors)
        return a, b, output, None, None, None, None


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
    device = a.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else a.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _ProjectionConsistency.apply(a, b, output, targets, smoothing, weight, dtype)
    return loss
