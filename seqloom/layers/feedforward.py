"""The position-wise feed-forward network, Vaswani et al. 2017, section 3.3, and its gated variants."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from seqloom.layers.dropout import dropout, relu_dropout
from seqloom.layers.linear import Linear, MakeLinear, PlainLinear


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

    @property
    def inner(self) -> tuple[Linear, ...]:
        """The layers from ``d_model`` to ``d_ff``: the hidden one and, where there is one, its gate."""
        return (self.hidden,)

    def activated(self, p: float, hidden: Tensor, *gate: Tensor) -> Tensor:
        """What the inner layers give, each [..., F] -> [..., F], dropped with probability ``p``."""
        return relu_dropout(hidden, p)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        activated = self.activated(self.drop if self.training else 0.0, *[layer(x) for layer in self.inner])
        projected: Tensor = self.output(activated)
        return projected

    def ready(self) -> Callable[[Tensor], Tensor]:
        """:meth:`forward` for a search, with the weights as they are now."""
        inner, output = [layer.ready() for layer in self.inner], self.output.ready()
        return lambda x: output(self.activated(0.0, *[layer(x) for layer in inner]))


class GELU(FeedForward):
    """gelu in the place of relu: Hendrycks and Gimpel 2016."""

    def activated(self, p: float, hidden: Tensor, *gate: Tensor) -> Tensor:
        return dropout(gelu(hidden), p)


class SiLU(FeedForward):
    """silu in the place of relu: Ramachandran et al. 2017, who call it Swish."""

    def activated(self, p: float, hidden: Tensor, *gate: Tensor) -> Tensor:
        return dropout(silu(hidden), p)


class Gated(FeedForward):
    """What a second inner layer lets through of the first."""

    def __init__(self, d_model: int, d_ff: int, drop: float = 0.0, linear: MakeLinear = PlainLinear) -> None:
        super().__init__(d_model, d_ff, drop, linear)
        self.gate = linear(d_model, d_ff)

    @property
    def inner(self) -> tuple[Linear, ...]:
        return self.hidden, self.gate


class SwiGLU(Gated):
    """output(dropout(silu(gate(x)) * hidden(x))): Shazeer 2020, "GLU Variants", section 2, but with biases."""

    def activated(self, p: float, hidden: Tensor, *gate: Tensor) -> Tensor:
        return dropout(silu(gate[0]) * hidden, p)


class GEGLU(Gated):
    """gelu in the place of silu: the same section."""

    def activated(self, p: float, hidden: Tensor, *gate: Tensor) -> Tensor:
        return dropout(gelu(gate[0]) * hidden, p)


ACTIVATIONS: dict[str, type[FeedForward]] = {
    "relu": FeedForward,
    "gelu": GELU,
    "silu": SiLU,
    "swiglu": SwiGLU,
    "geglu": GEGLU,
}
