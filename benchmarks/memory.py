"""What a model takes of memory while it trains: by each parameter, and by each token of a batch.

    python benchmarks/memory.py [--presets base,big] [--vocab 32000] [--length 32]

Weights, gradients and AdamW's two means are four numbers of four bytes for each parameter. What is kept of a batch for
the way back is counted as autograd keeps it, in bfloat16: the difference of two batches, so that copies of weights do
not count. It is that of the processor; a GPU's fused attention keeps less, and its masks of dropout are as large.
"""

import argparse

import torch
from torch import Tensor

from seqloom.config import ModelConfig
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.recompute import layers_of, recompute

BYTES = 16
ROWS = 5, 17


def kept(model: EncoderDecoder, rows: int, length: int) -> int:
    """Bytes that a batch of ``rows`` sentences keeps for the way back."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = torch.randint(4, 100, (rows, length))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        _ = model.loss(tokens, tokens, tokens, None, torch.arange(tokens.numel()), 0.1)
    return sum(sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default="base,big")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument("--length", type=int, default=32)
    options = parser.parse_args()
    print("| model | parameters | state | of it on each of 8, sharded | by target token | recomputed |")
    print("|---|---|---|---|---|---|")
    for preset in options.presets.split(","):
        config = ModelConfig.model_validate(ModelConfig.spelt_out({"preset": preset}))
        model = EncoderDecoder(config, options.vocab, options.vocab)
        parameters = sum(weight.numel() for weight in model.parameters())
        per_token = []
        for _ in range(2):
            few, many = (kept(model, rows, options.length) for rows in ROWS)
            per_token.append((many - few) / ((ROWS[1] - ROWS[0]) * options.length))
            recompute(layers_of([model.encoder, model.decoder]))
        state = BYTES * parameters / 1e9
        print(
            f"| `{preset}` | {parameters / 1e6:.0f} M | {state:.2f} GB | {state / 8:.2f} GB "
            f"| {per_token[0] / 1e3:,.0f} kB | {per_token[1] / 1e3:,.0f} kB |"
        )


if __name__ == "__main__":
    main()
