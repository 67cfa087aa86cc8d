"""The position-wise feed-forward network, Vaswani et al. 2017, section 3.3."""

from collections.abc import Callable

from torch import Tensor, nn

from seqloom.layers.dropout import Dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
}


class FeedForward(nn.Module):
    """output(dropout(activation(hidden(x)))) at every position alike."""

    def __init__(self, d_model: int, d_ff: int, drop: float = 0.0, activation: str = "relu") -> None:
        super().__init__()
        self.hidden = nn.Linear(d_model, d_ff)
        self.output = nn.Linear(d_ff, d_model)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.output(self.dropout(self.activation(self.hidden(x))))
