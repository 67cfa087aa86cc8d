"""Text that an output starts with, over the tokenizers that there are: always said, in tokens that suit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data.tokenizers import NUM_SPECIAL, TOKENIZERS, normalize
from seqloom.errors import UserError
from seqloom.tasks.prefix import Prefixes

SENTENCES = [
    "Der Junge spielt im Schnee, und der Hund läuft.",
    "Ein Jung und ein Hund. Die Hunde laufen 3 km.",
    "我们喜欢喝茶，他们喜欢买书。",
    "Die Jungen spielen mit den Hunden im Garten.",
] * 5


@pytest.fixture(scope="module")
def known():
    return {name: Prefixes(learn(SENTENCES, 400, 0.9998)) for name, learn in TOKENIZERS.items()}


def said(prefixes, prefix, random):
    """One output that obeys, chosen at random: the tokens, and then a few more."""
    tokens = list(prefix.tokens)
    spelt = 0
    while prefix.spelling is not None and spelt < len(prefix.spelling):
        possible = prefix.spelling[spelt].nonzero()[:, 0].tolist()
        tokens.append(random.choice(possible))
        spelt += int(prefixes.characters[tokens[-1]])
    return tokens


@pytest.mark.parametrize("kind", ["bpe", "unigram", "characters"])
@given(
    text=st.sampled_from(SENTENCES) | st.text("aDe rHun🙂我<s>é\u0301", max_size=9),
    length=st.integers(0, 50),
    random=st.randoms(),
)
def test_what_is_said_starts_with_the_text(kind, text, length, random, known):
    own, text = known[kind], text[:length]
    (prefix,) = own.forced([text], 256)
    tokens = said(own, prefix, random)
    assert own.tokenizer.decode([tokens])[0].startswith(normalize(text))
    if text[-1:].isspace() and normalize(text):
        (more,) = own.tokenizer.decode([[*tokens, own.tokenizer.id_of("D")]])
        assert more.startswith(normalize(text) + " ")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_last_word_may_be_cut_anew(kind, known):
    tokenizer = known[kind].tokenizer
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    (prefix,) = known[kind].forced(["Der Hun"], 256)
    first = {pieces[i] for i in prefix.spelling[0].nonzero()[:, 0].tolist()}
    whole = {piece for piece in pieces if piece.startswith("\u2581Hun")}
    assert whole
    assert whole <= first
    assert tokenizer.decode([prefix.tokens]) == ["Der"]


def test_white_space_ends_the_word(known):
    own = known["bpe"]
    open_word, closed = own.forced(["Der Hund", "Der Hund "], 256)
    pieces = own.pieces
    more = {pieces[i] for i in closed.spelling[0].nonzero()[:, 0].tolist()}
    assert own.tokenizer.decode([closed.tokens]) == ["Der Hund"]
    assert more
    assert all(piece.startswith("\u2581") for piece in more)
    assert len(open_word.tokens) < len(closed.tokens)


def test_no_special_token_comes_from_text(known):
    for own in known.values():
        for text in ("<", "</", "Der <", "Der", "Der "):
            if own.subwords or "<" not in text:
                (prefix,) = own.forced([text], 256)
                assert prefix.spelling is None or not prefix.spelling[:, :NUM_SPECIAL].any()
                assert all(token >= NUM_SPECIAL for token in prefix.tokens)


def test_an_empty_text_forces_nothing(known):
    for own in known.values():
        assert [(p.tokens, p.spelling) for p in own.forced(["", " \u3000"], 256)] == [((), None)] * 2


def test_words_are_said_whole(known):
    own = known["words"]
    (prefix,) = own.forced(["Der Hund"], 256)
    last = {own.pieces[i] for i in prefix.spelling[0].nonzero()[:, 0].tolist()}
    assert last == {"Hund", "Hunde", "Hunden"}
    assert prefix.spelling.shape == (1, own.tokenizer.vocab_size)
    with pytest.raises(UserError, match=r"cannot start with 'Der Kater': the vocabulary cannot spell all of it"):
        own.forced(["Der Kater"], 256)


def test_a_prefix_that_leaves_no_room_is_refused(known):
    with pytest.raises(UserError, match=r"may take 42 tokens, and an output has at most 42 with its end"):
        known["bpe"].forced(["3 " * 20 + "3"], 42)
    assert known["bpe"].forced(["3 " * 20 + "3"], 43)[0].longest == 42
