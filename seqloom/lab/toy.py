"""Small tasks that are made up as they are learnt: a model says one token for each that it reads."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqloom.config import ModelConfig
from seqloom.layers.blocks import EncoderBlock
from seqloom.layers.embeddings import TokenEmbedding
from seqloom.layers.linear import PlainLinear, init_xavier
from seqloom.models.transformer import Encoder

Rule = Callable[[Tensor], Tensor]
"""Tokens [B, T] -> what is to be said of each, [B, T]."""

CHECKED = 512
"""Sequences that a rule is tried on."""

SEEDS = 3
"""Of what is learnt several times."""


def mirrored(tokens: Tensor) -> Tensor:
    """Each place says what its mirror image holds."""
    return tokens.flip(1)


def before(tokens: Tensor) -> Tensor:
    """Each place says what the place before it holds; the first says its own."""
    return torch.cat([tokens[:, :1], tokens[:, :-1]], 1)


def ring(tokens: Tensor) -> Tensor:
    """The same, but the first says what the last one holds."""
    return tokens.roll(1, 1)


class Tagger(nn.Module):
    """A Transformer encoder that says a token at each place."""

    def __init__(self, vocab: int, **settings: Any) -> None:
        super().__init__()
        config = ModelConfig.model_validate({"dropout": 0.0, **settings})
        self.embedding = TokenEmbedding(vocab, config.d_model)
        self.encoder = Encoder(config)
        self.output = PlainLinear(config.d_model, vocab)
        for module in self.modules():
            if isinstance(module, PlainLinear):
                init_xavier(module)

    def layers(self) -> list[EncoderBlock]:
        """The blocks, typed as what they are."""
        return cast(list[EncoderBlock], list(self.encoder.blocks))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T] ids -> logits [B, T, V]."""
        logits: Tensor = self.output(self.encoder(self.embedding(tokens, torch.arange(tokens.size(1)))))
        return logits


def optimise(
    model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, warmup: int = 0, clip: float = 0.0
) -> list[float]:
    """Trains by AdamW; returns the loss of each step.

    Args:
        model: what is trained.
        loss: calculates it for a batch, another one each time.
        steps: updates.
        rate: the highest learning rate; it falls to zero in a line.
        warmup: updates in which it rises before, fewer than ``steps``.
        clip: largest norm of the gradient; 0 does not clip.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98))
    losses = []
    for step in range(steps):
        now = loss()
        now.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / warmup if warmup else 1.0, (steps - step) / (steps - warmup))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(now.detach()))
    return losses


def learn(
    model: nn.Module, rule: Rule, vocab: int, length: int, steps: int, rate: float = 1e-3, warmup: int = 0
) -> list[float]:
    """Trains on fresh sequences, 64 a step; returns the loss of each step.

    Args:
        model: as :class:`Tagger`.
        rule: what it is to learn.
        vocab: tokens are drawn from so many.
        length: of the sequences.
        steps, rate, warmup: as of :func:`optimise`.
    """

    def loss() -> Tensor:
        tokens = torch.randint(vocab, (64, length))
        return nn.functional.cross_entropy(model(tokens).flatten(0, 1), rule(tokens).flatten())

    return optimise(model, loss, steps, rate, warmup)


@torch.no_grad()
def accuracy(model: nn.Module, rule: Rule, vocab: int, length: int) -> float:
    """The share of tokens that are right, on sequences that were not trained on."""
    generator = torch.Generator().manual_seed(97)
    tokens = torch.randint(vocab, (CHECKED, length), generator=generator)
    return float((model(tokens).argmax(-1) == rule(tokens)).float().mean())


def accuracies(build: Callable[[], nn.Module], rule: Rule, vocab: int, length: int, steps: int) -> list[float]:
    """The accuracy of each of ``SEEDS`` models that were built and trained anew."""
    found = []
    for seed in range(1, SEEDS + 1):
        torch.manual_seed(seed)
        model = build()
        learn(model, rule, vocab, length, steps, rate=3e-3)
        found.append(accuracy(model, rule, vocab, length))
    return found
