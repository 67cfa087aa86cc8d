"""What a careful person writes from PyTorch's own parts, in float32 or under bfloat16 autocast.

``nn.Transformer`` with its fused attention, tied embeddings, ``nn.functional.cross_entropy`` with label
smoothing, fused AdamW and clipping.
"""

import math

import torch
from stage import Batch, Contestant, Terms, perform
from torch import Tensor, nn

LONGEST = 1024


class PlainTransformer(nn.Module):
    """Vaswani et al. 2017, pre-norm, from ``torch.nn`` alone."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        width = terms.d_model
        self.embedding = nn.Embedding(terms.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        angles = torch.arange(LONGEST)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], 2).flatten(1))  # [LONGEST, D]
        self.dropout = nn.Dropout(terms.dropout)
        self.transformer = nn.Transformer(
            width, terms.num_heads, terms.num_layers, terms.num_layers, terms.d_ff, terms.dropout,
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.pad = terms.pad

    def embed(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        embedded: Tensor = self.dropout(x + self.get_buffer("positions")[: tokens.size(1)])
        return embedded

    def forward(self, batch: Batch) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(batch.tgt.size(1)).isinf()
        hidden = self.transformer(
            self.embed(batch.src), self.embed(batch.tgt), tgt_mask=causal, tgt_is_causal=True,
            src_key_padding_mask=batch.src == self.pad, memory_key_padding_mask=batch.src == self.pad,
        )  # fmt: skip
        logits: Tensor = hidden @ self.embedding.weight.t()
        return logits


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    model = PlainTransformer(terms).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), terms.learning_rate, terms.betas, weight_decay=terms.weight_decay, fused=True
    )

    def update(batch: Batch) -> float:
        with terms.autocast():
            loss = nn.functional.cross_entropy(
                model(batch).flatten(0, 1),
                batch.targets.flatten(),
                ignore_index=terms.pad,
                label_smoothing=terms.label_smoothing,
            )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), terms.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return Contestant(update, sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    perform(prepare)
