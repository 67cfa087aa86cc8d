import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from seqloom.config import ClassifierConfig
from seqloom.layers.dropout import random_from
from seqloom.models.classifier import (
    CLASSIFIERS,
    BagOfWords,
    Classifier,
    ConvolutionalClassifier,
    RecurrentClassifier,
    build_classifier,
)

V, C, UNK = 31, 3, 1
LENGTHS = (7, 4, 1, 2)
B, T = len(LENGTHS), max(LENGTHS)


def model(kind: str, **changes: object) -> Classifier:
    torch.manual_seed(1)
    config = ClassifierConfig.model_validate(
        {
            "kind": kind,
            "d_model": 10,
            "num_heads": 5,
            "d_ff": 13,
            "hidden_size": 11,
            "filters": 7,
            "buckets": 23,
            **changes,
        }
    )
    made = build_classifier(config, V, C, UNK).double().eval()
    for parameter in made.parameters():  # a bag starts at zero
        if parameter.ndim == 2 and not parameter.any():
            torch.nn.init.normal_(parameter)
    return made


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return torch.randint(4, V, (B, T)).masked_fill(~mask, 0), mask


CASES = [
    *((kind, {}) for kind in CLASSIFIERS),
    ("recurrent", {"num_layers": 2, "bidirectional": False, "cell": "gru", "pooling": "max"}),
    ("recurrent", {"wide": "apart", "normalization": "instance"}),
    ("convolutional", {"normalization": "group", "widths": (1, 2, 9), "wide": "together"}),
    ("transformer", {"num_layers": 2, "pooling": "mean", "normalization": "rms"}),
]


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_padding_and_company_change_nothing(kind: str, changes: dict[str, object]) -> None:
    tokens, mask = batch()
    classifier = model(kind, **changes)
    together = classifier(tokens, mask)
    assert together.logits.shape == (B, C)
    for row, length in enumerate(LENGTHS):
        alone = classifier(tokens[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone.logits[0], together.logits[row])
        if together.weights is not None:
            torch.testing.assert_close(alone.weights[0], together.weights[row, :length])
            assert not together.weights[row, length:].any()


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_every_weight_has_a_gradient(kind: str, changes: dict[str, object]) -> None:
    tokens, mask = batch()
    classifier = model(kind, **changes).train()
    classifier.loss(tokens, torch.tensor([0, 1, 2, 1]), mask, smoothing=0.1, consistency=0.7).backward()
    assert [name for name, weight in classifier.named_parameters() if weight.grad is None] == []


def test_a_bag_is_logistic_regression_on_its_words_and_pairs() -> None:
    tokens, mask = batch()
    bag = model("bag")
    assert isinstance(bag, BagOfWords)
    logits = bag(tokens, mask).logits
    for row, length in enumerate(LENGTHS):
        ids = tokens[row, :length].tolist()
        rows = sorted({*ids, *(V + (a * 1_000_003 + b) % ((1 << 31) - 1) % 23 for a, b in pairwise(ids))})
        expected = 10 * bag.table.weight[rows].sum(0) / len(rows) ** 0.5 + bag.bias
        torch.testing.assert_close(logits[row], expected)


def test_longer_sequences_of_words_are_told_apart_by_their_order() -> None:
    bag = model("bag", ngrams=3, buckets=1 << 20)
    assert isinstance(bag, BagOfWords)
    tokens = torch.tensor([[5, 6, 7, 8], [5, 6, 8, 7], [5, 6, 7, 8]])
    rows, real = bag.features(tokens, torch.tensor([[True] * 4, [True] * 4, [True, True, True, False]]))
    assert real.sum(1).tolist() == [9, 9, 6]  # 4 + 3 + 2, 3 + 2 + 1
    first, second, third = ({*found[counts].tolist()} for found, counts in zip(rows, real, strict=True))
    assert len(first & second) == 5  # four words and the first pair
    assert third < first


def test_a_word_counts_once_however_often_it_stands() -> None:
    bag = model("bag", ngrams=1)
    once, twice = torch.tensor([[5, 6]]), torch.tensor([[5, 6, 5]])
    torch.testing.assert_close(bag(twice, twice > 0).logits, bag(once, once > 0).logits)


def test_a_bag_may_start_at_naive_bayes() -> None:
    """p(class) times the product of p(row | class), each to the power of 1 / sqrt(number of rows)."""
    tokens, mask = batch()
    labels = torch.tensor([2, 1, 2, 0])
    made = build_classifier(ClassifierConfig(kind="bag", bag_start="naive_bayes", buckets=1 << 20), V, C, UNK).double()
    made.eval()
    assert isinstance(made, BagOfWords)
    made.count((tokens[part], mask[part], labels[part]) for part in (slice(0, 3), slice(3, 4)))
    found: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(C)]
    texts = [tokens[row, :length].tolist() for row, length in enumerate(LENGTHS)]
    for ids, label in zip(texts, labels.tolist(), strict=True):
        found[label].update({*((one,) for one in ids), *pairwise(ids)})
    seen = {each for counts in found for each in counts}
    for ids in texts:
        own = {*((one,) for one in ids), *pairwise(ids)}
        logs = [math.log((count + 1) / (4 + C)) for count in labels.bincount().tolist()]
        for number, counts in enumerate(found):
            share = [math.log((counts[each] + 1) / (counts.total() + len(seen))) for each in own]
            logs[number] += sum(share) / len(own) ** 0.5
        one = torch.tensor([ids])
        logits = made(one, one > 0).logits[0]
        torch.testing.assert_close(logits.softmax(-1), torch.tensor(logs, dtype=torch.float64).softmax(-1))
    unseen = torch.tensor([[30, 29, 30]])
    assert not {29, 30} & {token for ids in texts for token in ids}
    torch.testing.assert_close(made(unseen, unseen > 0).logits[0], made.bias)


def test_a_bag_beside_a_network_starts_at_naive_bayes_too() -> None:
    tokens, mask = batch()
    config = ClassifierConfig(wide="together", bag_start="naive_bayes", d_model=10, hidden_size=11, buckets=23)
    made = build_classifier(config, V, C, UNK).eval()
    assert isinstance(made, RecurrentClassifier)
    assert made.bag is not None
    made.count([(tokens, mask, torch.tensor([0, 1, 2, 1]))])
    assert made.bag.table.weight[tokens[0]].all()


def test_a_network_and_the_bag_beside_it_may_learn_together() -> None:
    tokens, mask = batch()
    labels = torch.tensor([0, 1, 2, 1])
    both = model("recurrent", wide="together")
    assert isinstance(both, RecurrentClassifier)
    assert both.bag is not None
    bag, both.bag = both.bag, None
    expected = both(tokens, mask).logits + bag(tokens, mask).logits
    both.bag = bag
    torch.testing.assert_close(both(tokens, mask).logits, expected)
    loss = torch.nn.functional.cross_entropy(expected, labels, reduction="sum")
    torch.testing.assert_close(both.loss(tokens, labels, mask), loss)


def test_a_network_and_the_bag_beside_it_may_learn_apart() -> None:
    tokens, mask = batch()
    labels = torch.tensor([0, 1, 2, 1])
    both, alone = model("recurrent", wide="apart"), model("recurrent")
    assert isinstance(both, RecurrentClassifier)
    assert both.bag is not None
    alone.load_state_dict({name: w for name, w in both.state_dict().items() if not name.startswith("bag.")})
    network, bag = (part(tokens, mask).logits for part in (alone, both.bag))
    torch.testing.assert_close(both(tokens, mask).logits, (network + bag) / 2)
    losses = [part.loss(tokens, labels, mask, smoothing=0.1) for part in (both, alone, both.bag)]
    torch.testing.assert_close(losses[0], losses[1] + losses[2])
    for loss in losses[:2]:
        loss.backward()
    learnt = dict(both.named_parameters())
    for name, weight in alone.named_parameters():
        torch.testing.assert_close(weight.grad, learnt[name].grad)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_nothing_is_counted_unasked(kind: str) -> None:
    def texts() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        raise AssertionError("read")
        yield

    model(kind, wide="apart").count(texts())


def test_the_order_of_words_is_all_the_same_to_a_bag_of_single_words() -> None:
    bag = model("bag", ngrams=1)
    tokens = torch.tensor([[5, 6, 7], [7, 5, 6]])
    first, second = bag(tokens, torch.ones_like(tokens, dtype=torch.bool)).logits
    torch.testing.assert_close(first, second)
    assert bag.buckets == 0


def test_a_filter_is_centred_at_each_word_and_sees_zeros_beyond_the_ends() -> None:
    tokens, mask = batch()
    classifier = model("convolutional", widths=(2, 3))
    assert isinstance(classifier, ConvolutionalClassifier)
    x = classifier.embedding(tokens)
    convolutions: Any = classifier.convolutions
    pooled = classifier.pool(x, mask).x
    for row, length in enumerate(LENGTHS):
        zeros = torch.zeros(1, 10, dtype=torch.float64)
        padded = torch.cat([zeros, x[row, :length], zeros])
        for number, (width, first) in enumerate(((2, 1), (3, 0))):
            convolution = convolutions[number]
            windows = torch.stack([padded[t + first : t + first + width].T for t in range(length)])  # [T, D, width]
            seen = torch.einsum("tdw,fdw->tf", windows, convolution.weight) + convolution.bias
            torch.testing.assert_close(pooled[row, 7 * number : 7 * number + 7], seen.relu().amax(0))


def test_a_text_may_be_shorter_than_a_filter() -> None:
    assert model("convolutional", widths=(9,))(torch.tensor([[5]]), torch.tensor([[True]])).logits.isfinite().all()


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_words_are_left_out_in_training_alone(kind: str) -> None:
    tokens, mask = batch()
    labels = torch.tensor([0, 1, 2, 1])
    classifier = model(kind, word_dropout=0.5, dropout=0.0)

    def loss(random: torch.Generator | None = None) -> float:
        return classifier.loss(tokens, labels, mask, random=random).item()

    assert loss() == loss()
    classifier.train()
    assert len({round(loss(), 9) for _ in range(7)}) > 3
    assert loss(torch.Generator().manual_seed(3)) == loss(torch.Generator().manual_seed(3))


def test_padding_is_never_a_word_left_out() -> None:
    """An unknown word at padding would be real to whoever tells padding by its token."""
    tokens, mask = batch()
    seen: list[Tensor] = []

    class Watched(Classifier):
        def forward(self, tokens: Tensor, mask: Tensor) -> Any:
            seen.append(tokens)
            return CLASSIFIERS["bag"].forward(bag, tokens, mask)

    bag = model("bag")
    watched = Watched(ClassifierConfig(word_dropout=0.9), V, C, UNK).train()
    with random_from(torch.Generator().manual_seed(5)):
        watched.loss(tokens, torch.tensor([0, 1, 2, 1]), mask)
    assert (seen[0][~mask] == 0).all()
    assert (seen[0][mask] == UNK).float().mean() > 0.5


def test_two_passes_that_should_agree_are_both_counted() -> None:
    """Without dropout they do agree, so nothing is added."""
    tokens, mask = batch()
    labels = torch.tensor([0, 1, 2, 1])
    classifier = model("recurrent")
    torch.testing.assert_close(
        classifier.loss(tokens, labels, mask, 0.1, consistency=3.0), classifier.loss(tokens, labels, mask, 0.1)
    )


def test_word_vectors_are_dropped_once() -> None:
    encoder = cast(Any, model("transformer", dropout=0.4)).encoder
    assert encoder.dropout.p == 0
