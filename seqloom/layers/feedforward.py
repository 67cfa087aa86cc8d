"""The position-wise feed-forward network, Vaswani et al. 2017, section 3.3."""

from collections.abc import Callable

from torch import Tensor, nn

from seqloom.layers.dropout import dropout, relu_dropout


def gelu_dropout(x: Tensor, p: float) -> Tensor:
    """``dropout(gelu(x), p)``, Hendrycks and Gimpel 2016."""
    return dropout(nn.functional.gelu(x), p)


ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {"relu": relu_dropout, "gelu": gelu_dropout}
"""Non-linearities, each with the dropout that follows it."""


class FeedForward(nn.Module):
    """output(dropout(activation(hidden(x)))) at every position alike."""

    def __init__(self, d_model: int, d_ff: int, drop: float = 0.0, activation: str = "relu") -> None:
        super().__init__()
        self.hidden = nn.Linear(d_model, d_ff)
        self.output = nn.Linear(d_ff, d_model)
        self.activation = ACTIVATIONS[activation]
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        activated = self.activation(self.hidden(x), self.drop if self.training else 0.0)
        projected: Tensor = self.output(activated)
        return projected
