"""The position-wise feed-forward network, Vaswani et al. 2017, section 3.3, and its gated variants."""

from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from seqloom.layers.dropout import dropout, relu_dropout
from seqloom.layers.linear import MakeLinear, PlainLinear


class FeedForward(nn.Module):
    """output(dropout(relu(hidden(x)))) at every position alike.

    Args:
        d_model: width of inputs and output.
        d_ff: width inside; of a gated variant, after the gate.
        drop: probability of dropping an activation while training.
        linear: makes its linear layers.
    """

    def __init__(self, d_model: int, d_ff: int, drop: float = 0.0, linear: MakeLinear = PlainLinear) -> None:
        super().__init__()
        self.hidden = linear(d_model, d_ff)
        self.output = linear(d_ff, d_model)
        self.drop = drop

    def activated(self, x: Tensor, p: float) -> Tensor:
        """[B, T, D] -> [B, T, F], dropped with probability ``p``."""
        return relu_dropout(self.hidden(x), p)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        projected: Tensor = self.output(self.activated(x, self.drop if self.training else 0.0))
        return projected


class GELU(FeedForward):
    """gelu in the place of relu: Hendrycks and Gimpel 2016."""

    def activated(self, x: Tensor, p: float) -> Tensor:
        return dropout(gelu(self.hidden(x)), p)


class SiLU(FeedForward):
    """silu in the place of relu: Ramachandran et al. 2017, who call it Swish."""

    def activated(self, x: Tensor, p: float) -> Tensor:
        return dropout(silu(self.hidden(x)), p)


class SwiGLU(FeedForward):
    """output(dropout(silu(gate(x)) * hidden(x))): Shazeer 2020, "GLU Variants", section 2, but with biases."""

    def __init__(self, d_model: int, d_ff: int, drop: float = 0.0, linear: MakeLinear = PlainLinear) -> None:
        super().__init__(d_model, d_ff, drop, linear)
        self.gate = linear(d_model, d_ff)

    def activated(self, x: Tensor, p: float) -> Tensor:
        return dropout(silu(self.gate(x)) * self.hidden(x), p)


class GEGLU(SwiGLU):
    """gelu in the place of silu: the same section."""

    def activated(self, x: Tensor, p: float) -> Tensor:
        return dropout(gelu(self.gate(x)) * self.hidden(x), p)


ACTIVATIONS: dict[str, type[FeedForward]] = {
    "relu": FeedForward,
    "gelu": GELU,
    "silu": SiLU,
    "swiglu": SwiGLU,
    "geglu": GEGLU,
}
