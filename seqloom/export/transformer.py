"""The one kind of model that other engines' formats have."""

from seqloom.config import ModelConfig, NetworkConfig
from seqloom.errors import UserError
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.sequence_to_sequence import SequenceToSequence


def transformer_of(model: SequenceToSequence, config: NetworkConfig, wanted: str) -> tuple[EncoderDecoder, ModelConfig]:
    """A model that is a Transformer, and its settings, typed as such.

    Raises:
        UserError: if it is of another kind; ``wanted`` is the format.
    """
    if not isinstance(model, EncoderDecoder) or not isinstance(config, ModelConfig):
        raise UserError(
            f"a model with model.kind = {config.kind!r} cannot be exported for {wanted}, which is written for "
            f"Transformers; seqloom translate runs it as it is"
        )
    return model, config
