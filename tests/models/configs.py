"""Small models for tests, in sizes that no axis can be swapped in."""

from typing import Any

import torch

from seqloom.config import ModelConfig
from seqloom.models.encoder_decoder import EncoderDecoder


def small_config(**settings: Any) -> ModelConfig:
    sizes = {"d_model": 34, "num_heads": 2, "d_ff": 53, "num_encoder_layers": 2, "num_decoder_layers": 3, "dropout": 0}
    return ModelConfig.model_validate({**sizes, "norm": "post", **settings})


def small_model(vocab: int = 29, seed: int = 1, **settings: Any) -> EncoderDecoder:
    """A random float64 model whose biases and norms are not what they start as."""
    torch.manual_seed(seed)
    model = EncoderDecoder(small_config(**settings), vocab, vocab).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model
