"""The bound: the matrix products of an update and nothing else, at the model's shapes.

For every linear layer and every attention the product of the forward pass and both of the backward pass,
on random numbers, into memory that is there already. The linear layers see the real tokens only, the
output projection 512 of them at a time, so that its logits stay in the cache. Attention is padded.
A batch is either done by all threads together or cut into a part for each; the faster way is taken.
What :func:`stage.flops` counts is what is done here.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from stage import Batch, Contestant, Terms, perform, read_batches
from torch import Tensor

CHUNK = 512
"""Rows of the output projection."""


class Products:
    """One thread's memory, and the products in it.

    Args:
        size: numbers of the largest matrix.
    """

    def __init__(self, terms: Terms, size: int) -> None:
        self.terms = terms
        self.inputs = [torch.randn(size, dtype=terms.dtype) for _ in range(3)]
        self.results = [torch.empty(size, dtype=terms.dtype) for _ in range(3)]

    def update(self, rows: int, src_length: int, tgt_length: int, num_sources: int, num_targets: int) -> None:
        """The products for ``rows`` sentence pairs with so many real tokens."""
        width, inner, layers = self.terms.d_model, self.terms.d_ff, self.terms.num_layers
        for _ in range(layers):
            # Query, key, value and output of the encoder; in the decoder two of each, but for the
            # keys and values of the source.
            for tokens in (num_sources, num_targets):
                for _ in range(6):
                    self.linear(tokens, width, width)
                self.linear(tokens, width, inner)
                self.linear(tokens, inner, width)
            for queries, keys in ((src_length, src_length), (tgt_length, tgt_length), (tgt_length, src_length)):
                self.attention(rows, queries, keys)
        for start in range(0, num_targets, CHUNK):
            self.linear(min(CHUNK, num_targets - start), width, self.terms.vocab_size)

    def linear(self, tokens: int, size_in: int, size_out: int) -> None:
        """y = x w^T, and from the gradient of y those of x and w."""
        x, w, dy = self._views(self.inputs, (tokens, size_in), (size_out, size_in), (tokens, size_out))
        y, dx, dw = self._views(self.results, (tokens, size_out), (tokens, size_in), (size_out, size_in))
        torch.mm(x, w.t(), out=y)
        torch.mm(dy, w, out=dx)
        torch.mm(dy.t(), x, out=dw)

    def attention(self, rows: int, queries: int, keys: int) -> None:
        """Scores q k^T and contexts a v of all heads, and the gradients of q, k, a and v."""
        heads, size = rows * self.terms.num_heads, self.terms.d_model // self.terms.num_heads
        self.product(heads, queries, size, keys)
        self.product(heads, queries, keys, size)

    def product(self, heads: int, m: int, k: int, n: int) -> None:
        """c = a b of [m, k] and [k, n] matrices, and from the gradient of c those of a and b."""
        a, b, dc = self._views(self.inputs, (heads, m, k), (heads, k, n), (heads, m, n))
        c, da, db = self._views(self.results, (heads, m, n), (heads, m, k), (heads, k, n))
        torch.bmm(a, b, out=c)
        torch.bmm(dc, b.transpose(1, 2), out=da)
        torch.bmm(a.transpose(1, 2), dc, out=db)

    @staticmethod
    def _views(memory: list[Tensor], *shapes: tuple[int, ...]) -> list[Tensor]:
        return [flat[: math.prod(shape)].view(shape) for flat, shape in zip(memory, shapes, strict=True)]


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    batches = read_batches(terms)
    positions = max(side.numel() for batch in batches for side in (batch.src, batch.tgt))
    weights = max(
        len(batch.src) * max(batch.src.size(1), batch.tgt.size(1)) ** 2 * terms.num_heads for batch in batches
    )
    size = max(positions * max(terms.d_model, terms.d_ff), weights, max(CHUNK, terms.d_model) * terms.vocab_size)
    parts = [Products(terms, size) for _ in range(terms.threads)]
    # The number of threads of an operation is each thread's own.
    pool = ThreadPoolExecutor(terms.threads, initializer=torch.set_num_threads, initargs=(1,))

    def together(batch: Batch) -> None:
        shape = len(batch.src), batch.src.size(1), batch.tgt.size(1)
        parts[0].update(*shape, batch.num_sources, batch.num_targets)

    def parted(batch: Batch) -> None:
        lengths = batch.src.size(1), batch.tgt.size(1)
        shares = [
            [(count + turn) // len(parts) for count in (len(batch.src), batch.num_sources, batch.num_targets)]
            for turn in range(len(parts))
        ]
        jobs = [
            pool.submit(part.update, rows, *lengths, sources, targets)
            for part, (rows, sources, targets) in zip(parts, shares, strict=True)
        ]
        for job in jobs:
            job.result()

    def seconds(work: Callable[[Batch], None]) -> float:
        work(batches[0])
        begun = time.perf_counter()
        work(batches[0])
        return time.perf_counter() - begun

    ways = {"all threads together": together, "a part of the batch for each thread": parted}
    way = min(ways, key=lambda name: seconds(ways[name])) if terms.threads > 1 else "all threads together"

    def update(batch: Batch) -> float:
        ways[way](batch)
        return 0.0

    return Contestant(update, remark=f"the bound: matrix products alone, {way}")


if __name__ == "__main__":
    perform(prepare)
