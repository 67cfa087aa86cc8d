"""The models from one token sequence to another, by the name that ``model.kind`` has in a recipe."""

from typing import Any

from seqloom.config import NetworkConfig
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.recurrent import RecurrentModel
from seqloom.models.sequence_to_sequence import SequenceToSequence

MODELS: dict[str, Any] = {"transformer": EncoderDecoder, "recurrent": RecurrentModel}


def build(config: NetworkConfig, src_vocab: int, tgt_vocab: int) -> SequenceToSequence:
    """A new model with random weights, from torch's generator."""
    model: SequenceToSequence = MODELS[config.kind](config, src_vocab, tgt_vocab)
    return model
