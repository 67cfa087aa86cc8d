"""Texts to classes: a bag of words, convolutions, and encoders whose states are pooled."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from seqloom.config import ClassifierConfig, ModelConfig
from seqloom.layers.consistency import consistency_loss
from seqloom.layers.dropout import Dropout, keep_mask, random_from
from seqloom.layers.embeddings import Embedded
from seqloom.layers.linear import LINEARS, init_xavier
from seqloom.layers.pooling import POOLINGS, MaxPooling, Pooled
from seqloom.layers.projection import smoothed_cross_entropy
from seqloom.layers.recurrent import CELLS, Recurrent
from seqloom.layers.sequence_norm import SEQUENCE_NORMS
from seqloom.models.transformer import Encoder

EMBEDDING_STD = 0.1
"""Of new word vectors."""


class Classified(NamedTuple):
    """What a classifier makes of texts."""

    logits: Tensor
    """[B, C] for C classes."""
    weights: Tensor | None
    """[B, T], how much each token counted, adding up to 1; None where the model does not weigh them."""


class Classifier(nn.Module):
    """Token ids [B, T] -> the class of each text.

    Args:
        config: sizes and parts.
        vocab_size: number of tokens.
        classes: number of classes.
        unknown: the token that stands for words left out by ``word_dropout``.
    """

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> None:
        super().__init__()
        self.word_dropout = config.word_dropout
        self.unknown = unknown

    def forward(self, tokens: Tensor, mask: Tensor) -> Classified:
        """``tokens`` [B, T] ids; ``mask`` [B, T], True at real tokens, which come first and are at least one."""
        raise NotImplementedError

    def count(self, texts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Sets the weights that counting finds, if there are any.

        Args:
            texts: batches of all training texts: ``tokens`` and ``mask`` as of :meth:`forward`, ``labels`` [B].
        """

    def loss(
        self,
        tokens: Tensor,
        labels: Tensor,
        mask: Tensor,
        smoothing: float = 0.0,
        consistency: float = 0.0,
        random: torch.Generator | None = None,
    ) -> Tensor:
        """Summed cross-entropy of ``labels`` [B].

        Args:
            tokens, mask: as of :meth:`forward`.
            labels: [B] numbers of classes.
            smoothing: label smoothing.
            consistency: weight of the divergence between two passes under different dropout
                (:mod:`seqloom.layers.consistency`); 0 makes one pass.
            random: where dropout draws from; None is torch's own generator.
        """
        with random_from(random):
            logits = self._training_logits(tokens, mask)
            labels = labels.repeat(len(logits) // max(1, len(labels)))
            if not consistency:
                return smoothed_cross_entropy(logits, labels, smoothing)
            return consistency_loss(logits, self._training_logits(tokens, mask), labels, smoothing, consistency)

    def apart(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The logits of each part that learns by itself, one after another: [P * B, C] for P parts."""
        return self(tokens, mask).logits

    def _training_logits(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Training leaves words out (Iyyer et al. 2015, section 2.3): they become unknown ones."""
        if self.training and self.word_dropout:
            kept = keep_mask(tokens.shape, self.word_dropout).to(tokens.device, torch.bool)
            tokens = tokens.where(kept | ~mask, self.unknown)
        logits = self.apart(tokens, mask)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class BagOfWords(Classifier):
    """Logistic regression: b + s * sum of a learnt row for each word and each sequence of words, / sqrt(their number).

    Each counts once, however often it stands. Sequences of several words have no rows of their own but share
    ``buckets`` by their hash (Joulin et al. 2017, section 2.2).

    The scale s is there for Adam, whose steps are as long for these rows as for the weights of a network: they are
    far fewer for each row, which only the texts that have it move.
    """

    HASH, PRIME = 1_000_003, (1 << 31) - 1
    SCALE = 10.0

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> None:
        super().__init__(config, vocab_size, classes, unknown)
        self.ngrams, self.vocab_size = config.ngrams, vocab_size
        self.buckets = config.buckets if config.ngrams > 1 else 0
        self.table = nn.Embedding(vocab_size + self.buckets, classes)
        self.bias = nn.Parameter(torch.zeros(classes))
        self.dropout = Dropout(config.bag_dropout)
        self.counts = config.bag_start == "naive_bayes"
        nn.init.zeros_(self.table.weight)

    def forward(self, tokens: Tensor, mask: Tensor) -> Classified:
        rows, real = self.features(tokens, mask)
        present = self.dropout(real.to(self.table.weight.dtype))
        total = (present[:, None] @ self.table(rows))[:, 0]  # [B, C]
        return Classified(self.SCALE * total / real.sum(1, keepdim=True).sqrt() + self.bias, None)

    @torch.no_grad()
    def count(self, texts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Starts at naive Bayes, if it should: Wang and Manning 2012, "Baselines and Bigrams", section 2.1.

        A row is log p(row | class), less its mean over the classes, and the bias log p(class), as if each had been
        counted once more.
        """
        if not self.counts:
            return
        found, of_class = torch.zeros_like(self.table.weight), torch.ones_like(self.bias)
        for tokens, mask, labels in texts:
            rows, real = self.features(tokens, mask)
            classes = labels[:, None].expand_as(rows)
            found.index_put_((rows[real], classes[real]), found.new_ones(()), accumulate=True)
            of_class += labels.bincount(minlength=len(of_class))
        seen = found.any(1)
        logs = (found[seen] + 1).log() - (found.sum(0) + seen.sum()).log()
        self.table.weight[seen] = (logs - logs.mean(1, keepdim=True)) / self.SCALE
        self.bias.copy_((of_class / of_class.sum()).log())

    def features(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of the table that a text has, [B, F], and which of them count: each once."""
        rows, real = [tokens], [mask]
        hashed = tokens
        for length in range(2, self.ngrams + 1):
            hashed = (hashed[:, :-1] * self.HASH + tokens[:, length - 1 :]) % self.PRIME
            rows.append(self.vocab_size + hashed % self.buckets)
            real.append(mask[:, length - 1 :])  # its last token is real, so all are
        found = torch.cat(rows, 1).masked_fill(~torch.cat(real, 1), -1).sort(1).values
        first = torch.ones_like(found, dtype=torch.bool)
        first[:, 1:] = found[:, 1:] != found[:, :-1]
        return found.clamp(min=0), first & (found >= 0)


class PooledClassifier(Classifier):
    """Word vectors, what a network makes of them in their places, one vector of all, and its class.

    ``width`` is that of the last vector. With ``wide``, a bag of words stands beside the network. Together, the sum
    of their scores learns (Cheng et al. 2016, "Wide & Deep Learning", section 3.3). A bag may soon explain all texts
    to train on, and leave the network nothing to learn of them; apart, each learns by itself, and their mean answers
    (Mesnil et al. 2014, "Ensemble of Generative and Discriminative Techniques for Sentiment Analysis").
    """

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int, width: int) -> None:
        super().__init__(config, vocab_size, classes, unknown)
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.dropout = Dropout(config.dropout)
        self.output = LINEARS[config.linear](width, classes)
        self.bag = BagOfWords(config, vocab_size, classes, unknown) if config.wide != "none" else None
        self.together = config.wide == "together"
        init_xavier(self.output)

    def forward(self, tokens: Tensor, mask: Tensor) -> Classified:
        own = self._network(tokens, mask)
        if self.bag is None:
            return own
        both = own.logits + self.bag(tokens, mask).logits
        return own._replace(logits=both if self.together else both / 2)

    def apart(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.bag is None or self.together:
            return super().apart(tokens, mask)
        return torch.cat([self._network(tokens, mask).logits, self.bag(tokens, mask).logits])

    def _network(self, tokens: Tensor, mask: Tensor) -> Classified:
        x, weights = self.pool(self.dropout(self.embedding(tokens)), mask)
        return Classified(self.output(self.dropout(x)), weights)

    def count(self, texts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        if self.bag is not None:
            self.bag.count(texts)

    def pool(self, x: Tensor, mask: Tensor) -> Pooled:
        """``x`` [B, T, D] -> one vector of each text."""
        raise NotImplementedError


class ConvolutionalClassifier(PooledClassifier):
    """Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2.

    Filters of several widths, a ReLU, and of each filter the largest value. A filter is centred at each word and
    sees zeros beyond the ends, so that a text may be shorter than a filter.
    """

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> None:
        width = config.filters * len(config.widths)
        super().__init__(config, vocab_size, classes, unknown, width)
        self.convolutions = nn.ModuleList(_convolution(config.d_model, config.filters, w) for w in config.widths)
        self.norm = SEQUENCE_NORMS[config.normalization](width)
        self.largest = MaxPooling(width)

    def pool(self, x: Tensor, mask: Tensor) -> Pooled:
        x = x.masked_fill(~mask[:, :, None], 0).transpose(1, 2)  # [B, D, T]
        convolutions = cast(Sequence[nn.Conv1d], self.convolutions)
        seen = [each(pad(x, _around(each.kernel_size[0]))) for each in convolutions]
        features = self.norm(torch.cat(seen, 1).transpose(1, 2), mask)  # [B, T, filters * widths]
        return self.largest(features.relu(), mask)


class RecurrentClassifier(PooledClassifier):
    """A recurrent encoder whose states are weighed by attention: Yang et al. 2016, section 2.2, for words."""

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> None:
        sizes = config.d_model, config.hidden_size, config.num_layers
        encoder = Recurrent(CELLS[config.cell], *sizes, config.bidirectional, config.dropout)
        super().__init__(config, vocab_size, classes, unknown, encoder.width)
        self.encoder = encoder
        self.norm = SEQUENCE_NORMS[config.normalization](encoder.width)
        self.pooling = POOLINGS[config.pooling](encoder.width)

    def pool(self, x: Tensor, mask: Tensor) -> Pooled:
        return self.pooling(self.norm(self.encoder(x, mask).outputs, mask), mask)


class TransformerClassifier(PooledClassifier):
    """The encoder of Vaswani et al. 2017, pre-norm, whose states are pooled."""

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> None:
        super().__init__(config, vocab_size, classes, unknown, config.d_model)
        self.encoder = Encoder(_encoder_config(config))
        self.norm = SEQUENCE_NORMS[config.normalization](config.d_model)
        self.pooling = POOLINGS[config.pooling](config.d_model)

    def pool(self, x: Tensor, mask: Tensor) -> Pooled:
        # Vectors as large as the signal of their positions, which else would drown them.
        inputs = Embedded(x / EMBEDDING_STD, torch.arange(x.size(1), device=x.device), mask)
        return self.pooling(self.norm(self.encoder(inputs), mask), mask)


CLASSIFIERS: dict[str, type[Classifier]] = {
    "bag": BagOfWords,
    "convolutional": ConvolutionalClassifier,
    "recurrent": RecurrentClassifier,
    "transformer": TransformerClassifier,
}


def build_classifier(config: ClassifierConfig, vocab_size: int, classes: int, unknown: int) -> Classifier:
    """A new model of the kind that ``config`` names."""
    return CLASSIFIERS[config.kind](config, vocab_size, classes, unknown)


def _convolution(d_model: int, filters: int, width: int) -> nn.Conv1d:
    convolution = nn.Conv1d(d_model, filters, width)
    nn.init.xavier_uniform_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _around(width: int) -> tuple[int, int]:
    """Zeros before and after a sequence, so that each position is the middle of one window."""
    return (width - 1) // 2, width // 2


def _encoder_config(config: ClassifierConfig) -> ModelConfig:
    names = ("d_model", "num_heads", "d_ff", "num_layers", "dropout")
    given = {name: getattr(config, name) for name in names}
    return ModelConfig.model_validate({**given, "embedding_dropout": 0.0})  # word vectors have had theirs
