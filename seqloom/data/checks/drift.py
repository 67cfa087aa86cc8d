"""Where the two sides of a parallel corpus have drifted apart, and by how many lines.

A line that was lost from one side, or was split in two, shifts all that follow. Each shift within reach is a
state of a hidden Markov model over the lines of the target; what a state emits is how well line n fits source
line n + shift. That is learnt from the corpus itself (:mod:`seqloom.data.checks.drift_model`), from lengths first
and then from words as well, along the path found so far; a line is never judged by what was learnt from itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from seqloom.data.checks.drift_features import Extractor, Features
from seqloom.data.checks.drift_model import (
    BY_LENGTH,
    MOST_PAIRS,
    Comparison,
    Floats,
    Lexicon,
    Lines,
    Rows,
    band_products,
    compare_band,
    compare_rows,
    standard_lengths,
)

REACH = 24
"""Shifts that are tried, up and down; and as many around the difference of the line counts."""

SWITCH = 12.0
"""What a change of shift costs, in nats: that many more than chance must speak for it."""

BEYOND = np.float32(0.1)
"""What a line of which the partner would be beyond the ends of the source costs: it rather has none."""

BLOCK = 8
"""Lines that are judged together at first."""

LARGE = 20_000
"""Pairs above which the embeddings are smaller and the folds fewer."""

ITERATIONS = 4
"""Of learning along a path and finding a better one; most corpora need two."""

JUDGED = 1000
"""Lines of a drift by which its confidence is judged."""

LEAST_LOST, MOST_LOST = 48, 2
"""Lines that fit nowhere for which a shift out of reach is sought, and how many such stretches at a time."""

MOST_BANDS = 5
"""Ranges of shifts that are tried, which bounds the memory."""

PROBED, FARTHEST, FAR_DEVIATIONS = 256, 200_000, 8.0
"""How many of their lines are laid on how many others, and what deviation from the mean is no chance."""

RELATED, RELATED_SMALL = 0.3, 10.0
"""By how many nats the pairs of a corpus that is one fit better than strangers, at least: in a large one, and
what N pairs need more times N."""

FEWEST = 40
"""Pairs below which sides that do not seem to belong together are not said to be unrelated."""


class Drift(NamedTuple):
    """A stretch of a corpus whose sides are misaligned by the same number of lines."""

    line: int
    """The first misaligned pair, from 1."""
    shift: int
    """Target line n belongs to source line n + shift: positive where the target lacks lines, negative where the
    source does. Counted from the beginning of the corpus, not from the drift before."""
    confidence: float
    """From 0 to 1."""
    until: int | None = None
    """The last misaligned line; None where that is the end."""


def find_drifts(src: Sequence[str], tgt: Sequence[str]) -> list[Drift]:
    """The drifts between two lists of lines; see :class:`DriftFinder`."""
    finder = DriftFinder()
    finder.add(src, tgt)
    return finder.drifts()


class DriftFinder:
    """Finds drifts in a corpus that it is given chunk by chunk, of which it keeps 76 bytes a pair."""

    def __init__(self) -> None:
        self._extractors = Extractor(), Extractor()
        self._parts: tuple[list[Features], list[Features]] = [], []
        self._path: _Path | None = None

    def add(self, src: Sequence[str], tgt: Sequence[str]) -> None:
        """The next lines of both sides, as many of each until one of them ends."""
        self._path = None
        for lines, extractor, parts in zip((src, tgt), self._extractors, self._parts, strict=True):
            if lines:
                parts.append(extractor.extract(lines))

    def drifts(self) -> list[Drift]:
        """The drifts in what was added, in their order; none where the sides are ``unrelated``."""
        return self._find().drifts

    @property
    def unrelated(self) -> bool:
        """Whether the sides do not belong together at all, at any shift within reach."""
        return self._find().unrelated

    def _find(self) -> "_Path":
        if self._path is None:
            sides = []
            for parts in self._parts:
                parts[:] = [Features.join(parts)] if parts else []
                sides.append(parts[0] if parts else Extractor().extract([]))
            self._path = _search(sides[0], sides[1])
        return self._path


States = NDArray[np.unsignedinteger[Any]]
"""Of each target line, an index into the shifts that are tried; one beyond for a line that fits nowhere."""


class _Path(NamedTuple):
    drifts: list[Drift]
    unrelated: bool


class _Segment(NamedTuple):
    """Target lines from ``start`` until before ``end`` that have one shift; None where they fit nowhere."""

    start: int
    end: int
    shift: int | None


class _Judge(NamedTuple):
    lexicon: Lexicon | None
    compare: Comparison


def _search(src: Features, tgt: Features) -> _Path:
    if not len(src.lengths) or not len(tgt.lengths):
        return _Path([], False)
    search = _Search(src, tgt)
    blocks, path = search.best()
    for _ in range(ITERATIONS):
        before = search.shifts_along(path)
        search.learn(path)
        blocks, path = search.best()
        if np.array_equal(search.shifts_along(path), before):
            break
    if search.advantage(blocks, path) < RELATED + RELATED_SMALL / search.count:
        return _Path([], search.is_varied())
    return _Path(_drifts(search, path), False)


class _Search:
    """The sides of a corpus, the shifts that are tried, and how well lines fit at each."""

    def __init__(self, src: Features, tgt: Features) -> None:
        self.sides = src, tgt
        self.sources, self.count = len(src.lengths), len(tgt.lengths)
        self.surplus = self.sources - self.count
        self._standard = standard_lengths(src), standard_lengths(tgt)
        self._size, self._folds = (64, 2) if self.count > LARGE else (128, 4)
        self._chunk = min(max(self.count // 16 // BLOCK, 1), 512) * BLOCK
        """Lines in a row that are of one fold."""
        self._judges = [_Judge(None, BY_LENGTH)]
        """One for each fold, which has learnt from the others; or one for all."""
        self._bands: list[range] = []
        for middle in (0, self.surplus):
            self._try_around(middle)

    def _try_around(self, middle: int) -> bool:
        """Whether there is anything new to try, and room for it."""
        if len(self._bands) == MOST_BANDS or any(middle in band for band in self._bands):
            return False
        bands = sorted([*self._bands, range(middle - REACH, middle + REACH + 1)], key=lambda band: band.start)
        self._bands = []
        for band in bands:
            if self._bands and band.start <= self._bands[-1].stop:
                self._bands[-1] = range(self._bands[-1].start, band.stop)
            else:
                self._bands.append(band)
        self.shifts = np.concatenate([np.array(band) for band in self._bands])
        return True

    # --- what fits ---

    def scores(self, start: int, stop: int) -> Floats:
        """How well the target lines from ``start`` until before ``stop`` fit at each shift, and nowhere: [N, K + 1].

        The logarithm of how much likelier they are the translation than another line from nearby.
        """
        parts = []
        while start < stop:
            number = start // self._chunk
            end = min(stop, (number + 1) * self._chunk)
            parts.append(self._score(start, end, self._judges[number % len(self._judges)]))
            start = end
        return np.concatenate(parts)

    def _score(self, start: int, stop: int, judge: _Judge) -> Floats:
        tgt = self._lines(1, np.arange(start, stop), judge.lexicon)
        columns = []
        for band in self._bands:
            rows = np.arange(start + band[0], stop + band[-1])
            src = self._lines(0, rows, judge.lexicon)
            fits = judge.compare(compare_band(src, tgt))
            fits[sliding_window_view(src.empty, len(band)) | tgt.empty[:, None]] = 0
            beyond = (rows < 0) | (rows >= self.sources)
            fits -= sliding_window_view(BEYOND * beyond, len(band))
            columns.append(fits)
        return np.concatenate([*columns, np.zeros((stop - start, 1), np.float32)], axis=1)

    def _lines(self, side: int, rows: Rows, lexicon: Lexicon | None) -> Lines:
        """What is beyond the ends is empty."""
        features = self.sides[side]
        inside = (rows >= 0) & (rows < len(features.lengths))
        rows = np.clip(rows, 0, len(features.lengths) - 1)
        words = features.words[rows]
        return Lines(
            lexicon[side](words) if lexicon else np.zeros((len(rows), 1), np.float32),
            self._standard[side][rows],
            features.numbers[rows],
            features.names[rows],
            ~inside | (features.lengths[rows] == 0),
        )

    def block_scores(self) -> Floats:
        """The sums of :meth:`scores` over ``BLOCK`` lines each."""
        sums = np.empty((-(-self.count // BLOCK), self.shifts.size + 1), np.float32)
        for start in range(0, self.count, self._chunk):
            fits = self.scores(start, min(start + self._chunk, self.count))
            starts = np.arange(0, len(fits), BLOCK)
            sums[start // BLOCK :][: starts.size] = np.add.reduceat(fits, starts, axis=0)
        return sums

    def advantage(self, blocks: Floats, path: States) -> float:
        """By how many nats a line that is not empty fits better along a path than elsewhere, on average."""
        states = path[::BLOCK].astype(np.int64)
        states[states == self.shifts.size] = np.flatnonzero(self.shifts == 0)[0]
        fits = np.take_along_axis(blocks, states[:, None], 1)[:, 0]
        others = (blocks.sum(1) - fits) / (self.shifts.size - 1)
        filled = min(int(np.count_nonzero(side.lengths)) for side in self.sides)
        return float((fits - others).sum(dtype=np.float64)) / max(1, filled)

    def is_varied(self) -> bool:
        """Whether there are enough different lines to say that the sides are unrelated."""
        different = [np.unique(side.words[side.lengths > 0][:MOST_PAIRS], axis=0) for side in self.sides]
        return min(map(len, different)) >= FEWEST

    # --- learning ---

    def learn(self, path: States) -> None:
        """New judges, from the pairs that a path makes."""
        rows = np.flatnonzero(path < self.shifts.size)
        partners = rows + self.shifts[path[rows]]
        good = (partners >= 0) & (partners < self.sources)
        rows, partners = rows[good], partners[good]
        good = (self.sides[0].lengths[partners] > 0) & (self.sides[1].lengths[rows] > 0)
        rows, partners = rows[good], partners[good]
        fold = rows // self._chunk % self._folds
        lexicons, examples = [], []
        for number in range(self._folds):
            chosen = _some(np.flatnonzero(fold != number), MOST_PAIRS)
            src, tgt = self.sides[0].words[partners[chosen]], self.sides[1].words[rows[chosen]]
            lexicons.append(Lexicon.learn(src, tgt, self._size))
            # How much its closeness tells is learnt from lines that it has not learnt from.
            chosen = _some(np.flatnonzero(fold == number), MOST_PAIRS // 4)
            examples.append(self._examples(rows[chosen], partners[chosen], lexicons[number]))
        self._judges = []
        for number, lexicon in enumerate(lexicons):
            pairs, strangers = (
                np.concatenate([found[of] for other, found in enumerate(examples) if other != number]) for of in (0, 1)
            )
            self._judges.append(_Judge(lexicon, Comparison.learn(pairs, strangers)))

    def _examples(self, rows: Rows, partners: Rows, lexicon: Lexicon) -> list[Floats]:
        """Signs of pairs, and of as many strangers from nearby."""
        random = np.random.Generator(np.random.PCG64(2))
        away = random.integers(1, REACH + 1, len(rows)) * random.choice([-1, 1], len(rows))
        inside = (partners + away >= 0) & (partners + away < self.sources)
        tgt = self._lines(1, rows, lexicon)
        found = []
        for sources in (partners, np.where(inside, partners + away, partners - away)):
            src = self._lines(0, sources, lexicon)
            found.append(np.stack(compare_rows(src, tgt), 1)[~src.empty])
        return found

    # --- the path ---

    def best(self) -> tuple[Floats, States]:
        """The scores of blocks and the best path, with what was found out of reach."""
        blocks = self.block_scores()
        path = self.path(blocks)
        if self.look_far(path):
            blocks = self.block_scores()
            path = self.path(blocks)
        return blocks, path

    def shifts_along(self, path: States) -> Rows:
        """Of each target line; one that no line can have where it fits nowhere."""
        return np.append(self.shifts, self.sources)[path]

    def path(self, blocks: Floats) -> States:
        """The best shift of each target line, as an index into ``shifts`` or one beyond; to the line near changes."""
        first = np.where(self.shifts == 0, 0.0, -SWITCH)
        # Where one side has more lines, a drift is to be expected.
        last = np.where(self.shifts == self.surplus, 0.0, -SWITCH / 2)
        first, last = np.append(first, -SWITCH), np.append(last, -SWITCH / 2)
        path = np.repeat(best_path(blocks, first, last), BLOCK)[: self.count]
        around = 4 * BLOCK
        changes = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), self.count]
        groups = [[changes[0], changes[0]]]
        for change in changes[1:]:
            if change - groups[-1][1] < 2 * around:
                groups[-1][1] = change
            else:
                groups.append([change, change])
        for begin, end in groups:
            start, stop = max(0, begin - around), min(self.count, end + around)
            before, after = first, last
            if start > 0:
                before = np.full(first.size, -SWITCH)
                before[path[start - 1]] = 0
            if stop < self.count:
                after = np.full(last.size, -SWITCH)
                after[path[stop]] = 0
            path[start:stop] = best_path(self.scores(start, stop), before, after)
        return path

    def look_far(self, path: States) -> bool:
        """Whether lines that fit nowhere were found to fit at a shift not tried so far, which then is tried."""
        lost = [segment for segment in self.segments(path) if segment.shift is None and _size(segment) >= LEAST_LOST]
        found = False
        for segment in sorted(lost, key=_size)[-MOST_LOST:]:
            for part in (1, 3):
                shift = self._far_shift(segment.start + part * _size(segment) // 4, min(_size(segment) // 2, PROBED))
                found |= shift is not None and self._try_around(shift)
        return found

    def _far_shift(self, middle: int, count: int) -> int | None:
        """The one at which so many lines around ``middle`` fit by far the best."""
        lexicon = self._judges[0].lexicon
        start = middle - count // 2
        probe = self._signal(1, np.arange(start, start + count), lexicon)
        first, last = max(1 - count, start - FARTHEST), min(self.sources, start + FARTHEST)
        sums = []
        for near in range(first, last, self._chunk):
            far = min(near + self._chunk, last)
            sums.append(band_products(self._signal(0, np.arange(near, far + count - 1), lexicon), probe).sum(0))
        fits = np.concatenate(sums)
        best = int(fits.argmax())
        stands_out = fits[best] - fits.mean() > FAR_DEVIATIONS * fits.std()
        return first + best - start if stands_out else None

    def _signal(self, side: int, rows: Rows, lexicon: Lexicon | None) -> Floats:
        lines = self._lines(side, rows, lexicon)
        signal = lines.vectors if lexicon else lines.length[:, None]
        return np.where(lines.empty[:, None], np.float32(0), signal)

    def segments(self, path: States) -> list[_Segment]:
        """The stretches of a path."""
        starts = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist()]
        shifts = [*map(int, self.shifts), None]
        return [
            _Segment(start, end, shifts[path[start]])
            for start, end in zip(starts, [*starts[1:], self.count], strict=True)
        ]


def _size(segment: _Segment) -> int:
    return segment.end - segment.start


def _some(rows: Rows, most: int) -> Rows:
    """At most so many, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def best_path(scores: Floats, first: NDArray[np.float64], last: NDArray[np.float64]) -> States:
    """Viterbi's: the states of the greatest total score, where each change of state costs ``SWITCH``.

    Args:
        scores: [N, K]; of each step in each state.
        first: [K]; what is added for the state at the beginning.
        last: [K]; at the end.
    """
    steps, states = scores.shape
    came_from = np.empty((steps, states), np.min_scalar_type(states))
    best = first + scores[0]
    stay = np.arange(states)
    for step in range(1, steps):
        top = best.argmax()
        jump = best[top] - SWITCH
        came_from[step] = np.where(best >= jump, stay, top)
        np.maximum(best, jump, out=best)
        best += scores[step]
    path = np.empty_like(came_from[:, 0])
    state = (best + last).argmax()
    for step in range(steps - 1, 0, -1):
        path[step] = state
        state = came_from[step, state]
    path[0] = state
    return path


def _drifts(search: _Search, path: States) -> list[Drift]:
    drifts: list[Drift] = []
    shift, lost = 0, None
    for segment in _with_orphans(search, search.segments(path)):
        if segment.shift is None:
            lost = segment.start if lost is None else lost
            continue
        if segment.shift != shift:
            begin = segment.start if lost is None or not segment.shift else lost
            if shift:
                drifts[-1] = drifts[-1]._replace(until=begin)
            if segment.shift:
                drifts.append(Drift(begin + 1, segment.shift, _confidence(search, segment, segment.shift)))
        shift, lost = segment.shift, None
    return drifts


def _with_orphans(search: _Search, segments: list[_Segment]) -> list[_Segment]:
    """The same segments, with one more before each drift back that holds the lines that the source lacks."""
    found = segments[:1]
    for other in segments[1:]:
        one = found[-1]
        if one.shift is None or other.shift is None or one.shift < other.shift:
            found.append(other)
            continue
        orphans = one.shift - other.shift
        start, stop = max(one.start, other.start - 2 * orphans), min(other.end, other.start + 2 * orphans)
        if orphans <= stop - start:
            scores = search.scores(start, stop)
            columns = np.searchsorted(search.shifts, [one.shift, other.shift])
            before, after = np.concatenate([np.zeros((1, 2)), scores[:, columns].cumsum(0, dtype=np.float64)]).T
            border = start + int((before[: before.size - orphans] - after[orphans:]).argmax())
            found[-1] = one._replace(end=border)
            found.append(_Segment(border, border + orphans, None))
            other = other._replace(start=border + orphans)
        found.append(other)
    return [segment for segment in found if _size(segment) > 0]


def _confidence(search: _Search, segment: _Segment, shift: int) -> float:
    """1 - exp(-margin / SWITCH), by how much better the shift fits than any other."""
    start = min(max(segment.start, -shift), segment.end - 1)  # before that the source has no line to compare
    total = search.scores(start, min(segment.end, start + JUDGED)).sum(0, dtype=np.float64)
    state = np.searchsorted(search.shifts, shift)
    margin = total[state] - np.delete(total, state).max()
    return float(1 - np.exp(-max(0.0, margin) / SWITCH))
