"""The file of a SentencePiece model, as far as its pieces are added to and put in another order.

It is a Protocol Buffers message, ``ModelProto`` in ``sentencepiece_model.proto``: field 1 is a piece,
the ids are the order of the pieces, and field 2 is the ``TrainerSpec``, which says among other things
what kind of model it is and how the special tokens are called. Of a field that comes twice the later
value holds, so that a message is changed by what is put behind it.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of a piece. A control piece or an unused one is never found in a text; one defined by the user always is."""

UNIGRAM, BPE = 1, 2
"""Types of a model."""

PIECE, TRAINER_SPEC = 1, 2
MODEL_TYPE = 3
SPECIAL_IDS = {"unk": 40, "bos": 41, "eos": 42, "pad": 43}
SPECIAL_NAMES = {"unk": 45, "bos": 46, "eos": 47, "pad": 48}
"""Field numbers."""

SPECIAL_ROLES = ("pad", "unk", "bos", "eos")
"""In the order of their ids."""


class Piece(NamedTuple):
    """One as it was read."""

    text: str
    score: float
    kind: int


def piece(text: str, kind: int, score: float = 0.0) -> bytes:
    """A piece as it stands in a file; those put behind a model get the next ids."""
    return _field(PIECE, _field(1, text.encode()) + struct.pack("<Bf", 2 << 3 | 5, score) + _field(3, kind))


def model_type(model: bytes) -> int:
    """Which kind of model it is.

    Raises:
        ValueError: if it cannot be read.
    """
    kind = UNIGRAM
    for number, spec, _ in _fields(model):
        if number == TRAINER_SPEC and isinstance(spec, bytes):
            for field, value, _ in _fields(spec):
                if field == MODEL_TYPE and isinstance(value, int):
                    kind = value
    return kind


def reordered(model: bytes, first: Mapping[str, tuple[int | None, str]]) -> bytes:
    """``model`` with its special tokens in front.

    Args:
        first: "pad", "unk", "bos" and "eos" in the order wanted, each with the id that it has, None
            where the model has none, and its name.

    Raises:
        ValueError: if the model cannot be read.
    """
    pieces, rest = _parted(model)
    front = [piece(name, CONTROL) if at is None else pieces[at] for at, name in first.values()]
    moved = {at for at, _ in first.values()}
    back = [raw for at, raw in enumerate(pieces) if at not in moved]
    return _put_together([*front, *back], rest, [name for _, name in first.values()])


def with_vocabulary(model: bytes, texts: Sequence[str], special: Sequence[str]) -> bytes:
    """``model`` with the ids of a vocabulary: first ``special``, then ``texts``.

    Pieces of the model that are not in the vocabulary go. Those that the model has not are never found in a
    text, but for those of nothing but characters that it does not know: as SentencePiece leaves a run of such
    characters as it is, Marian finds it in the vocabulary. A run that is not there as a whole is ``<unk>`` to
    Marian, and the pieces that it is made of here. All else is cut as before, by a score no lower than others.

    Args:
        model: the content of its file.
        texts: all pieces but the special ones.
        special: how pad, unk, bos and eos are to be called.

    Raises:
        ValueError: if the model cannot be read.
    """
    pieces, rest = _parted(model)
    read = [_read(raw) for raw in pieces]
    known = {each.text: raw for each, raw in zip(read, pieces, strict=True)}
    spelt = {character for each in read if each.kind in (NORMAL, USER_DEFINED) for character in each.text}
    in_bytes = any(each.kind == BYTE for each in read)  # no character is unknown to it
    # That of an unknown character hangs on the lowest score; and in BPE unused pieces are put together too, and
    # taken apart at the end, so that one that came first would keep others from being put together.
    lowest = min((each.score for each in read if each.kind == NORMAL), default=0.0)

    def added(text: str) -> bytes:
        return piece(text, UNUSED if in_bytes or not spelt.isdisjoint(text) else NORMAL, lowest)

    kinds = [UNKNOWN if role == "unk" else CONTROL for role in SPECIAL_ROLES]
    front = list(map(piece, special, kinds))
    return _put_together([*front, *(known.get(text) or added(text) for text in texts)], rest, special)


def _parted(model: bytes) -> tuple[list[bytes], list[bytes]]:
    """The pieces, and all else."""
    pieces: list[bytes] = []
    rest: list[bytes] = []
    for number, _, raw in _fields(model):
        (pieces if number == PIECE else rest).append(raw)
    return pieces, rest


def _put_together(pieces: Sequence[bytes], rest: Sequence[bytes], special: Sequence[str]) -> bytes:
    """A model whose first pieces are pad, unk, bos and eos."""
    spec = b"".join(
        _field(SPECIAL_IDS[role], i) + _field(SPECIAL_NAMES[role], name.encode())
        for i, (role, name) in enumerate(zip(SPECIAL_ROLES, special, strict=True))
    )
    return b"".join([*pieces, *rest, _field(TRAINER_SPEC, spec)])


def _read(raw: bytes) -> Piece:
    """How a piece is spelt, its score and its type."""
    ((_, inside, _),) = _fields(raw)
    found = {number: value for number, value, _ in _fields(inside)} if isinstance(inside, bytes) else {}
    text, score, kind = found.get(1), found.get(2, bytes(4)), found.get(3, NORMAL)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4 or not isinstance(kind, int):
        raise ValueError("a piece without its text, or with another score than a number")
    return Piece(text.decode(), struct.unpack("<f", score)[0], kind)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes, bytes]]:
    """(number, value, the bytes of the whole field) of each field."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _read_varint(message, at)
            yield key >> 3, value, message[start:at]
            continue
        if wire == 2:
            size, at = _read_varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"a field of unknown kind at byte {start:,}")
        at += size
        if at > len(message):
            raise ValueError(f"a field at byte {start:,} that goes on behind the end")
        yield key >> 3, message[at - size : at], message[start:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(f"no number at byte {at:,}")
