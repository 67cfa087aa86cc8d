"""Translators run by CTranslate2: the common searches, several times as fast as torch. Loads no torch."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ctranslate2

from seqloom.config import DecodingConfig, NetworkConfig
from seqloom.data.tokenizers import EOS
from seqloom.decoding.hypothesis import Hypothesis
from seqloom.decoding.lengths import length_bounds
from seqloom.export.store import Export
from seqloom.tasks.engine import BATCH_TOKENS, TokenScores
from seqloom.tasks.setup import TranslatorSetup

if TYPE_CHECKING:
    from seqloom.decoding.constraints import Prefix

MOST_TOKENS = 1 << 14
"""Of a batch whose probabilities are asked for: it holds the scores of all pieces for each of them."""

KNOWN = {
    "kind": {"transformer"},
    "positions": {"sinusoidal", "learned", "rotary", "index", "random", "none"},
    "score": {"scaled_dot"},
}
"""What of a model CTranslate2 has, in both stacks, where it has not all that there is."""


def missing_parts(config: NetworkConfig) -> str:
    """What of a model CTranslate2 cannot run, as a setting; empty if it can run it."""
    return next(iter(config.beyond(KNOWN)), "")


def supported_types() -> set[str]:
    """What this processor calculates in."""
    return set(ctranslate2.get_supported_compute_types("cpu"))


@dataclass(frozen=True)
class Shape:
    """How an exported model is run on a machine."""

    workers: int = 1
    """Batches at the same time."""
    threads: int = 1
    """Of each worker."""
    batch: int = 32
    """Hypotheses that a worker takes each step together: sentences times beam."""

    def __str__(self) -> str:
        return f"{self.workers} x {self.threads} thread{'s' if self.threads > 1 else ''}, {self.batch} at a time"


class CTranslate2Engine:
    """Runs an exported model; see :class:`seqloom.tasks.engine.Engine`.

    Args:
        export: the model.
        setup: its vocabularies.
        shape: threads and batches; they change nothing but the speed.
        scores: False where nobody reads how probable a hypothesis is: it is said to be 0 wherever the search can
            do without.
    """

    def __init__(self, export: Export, setup: TranslatorSetup, shape: Shape, scores: bool = True) -> None:
        self.export = export
        self.shape = shape
        self.scores = scores
        self.src_pieces, self.tgt_pieces = (
            tokenizer.pieces(range(tokenizer.vocab_size)) for tokenizer in (setup.src_tokenizer, setup.tgt_tokenizer)
        )
        self.tgt_ids = {piece: number for number, piece in enumerate(self.tgt_pieces)}
        self.end = self.tgt_pieces[EOS]
        self.longest = setup.model.places
        self.translator = ctranslate2.Translator(
            str(export.path),
            device="cpu",
            compute_type=export.compute_type,
            inter_threads=shape.workers,
            intra_threads=shape.threads,
        )

    def cannot_search(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        prefixes: "Sequence[Prefix] | None" = None,
    ) -> str:
        """What of a search this engine does not do exactly as it is defined; empty if it does all."""
        longest = max(min(decoding.max_length, self.longest or decoding.max_length), *map(len, sources), 1)
        reasons = {
            "sampling": decoding.sample,
            "diverse search": decoding.diversity > 0,
            "a prefix": prefixes is not None,
            # It strikes tokens out before the softmax, which changes the score of those that are left.
            "no_repeat_ngram": decoding.no_repeat_ngram > 0,
            "a least length": decoding.min_length > 0 or decoding.min_length_ratio > 0,
            "length_formula": decoding.length_formula != "power",
            "coverage_penalty": decoding.coverage_penalty > 0,
            f"text of more than {self.export.places:,} tokens": longest > self.export.places,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def cannot_score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> str:
        """The same of a scoring."""
        sizes = [len(ids) for side in (sources, targets) for ids in side]
        if 1 in sizes:
            return "the score of an empty text"
        return f"text of more than {self.export.places:,} tokens" if max(sizes, default=0) > self.export.places else ""

    def search(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        n_best: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        prefixes: "Sequence[Prefix] | None" = None,
    ) -> list[list[Hypothesis]]:
        # One call has one bound for all of its sentences.
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for row, ids in enumerate(sources):
            longest, _ = length_bounds(len(ids), decoding, self.longest)
            alike[longest].append(row)
        found: list[list[Hypothesis]] = [[] for _ in sources]
        pending = [
            (rows, self._started([sources[row] for row in rows], decoding, n_best, longest))
            for longest, rows in sorted(alike.items(), reverse=True)
        ]
        for rows, results in pending:
            for row, result in zip(rows, results, strict=True):
                found[row] = self._hypotheses(result.result(), decoding.length_penalty)
        return found

    def _started(
        self, sources: Sequence[Sequence[int]], decoding: DecodingConfig, n_best: int, longest: int
    ) -> list[Any]:
        """Sentences of one bound, under way in the background; longest first, so that none is waited for at the end."""
        return self.translator.translate_batch(
            [[self.src_pieces[token] for token in ids[:-1]] for ids in sources],
            beam_size=decoding.beam,
            num_hypotheses=n_best,
            length_penalty=decoding.length_penalty,
            repetition_penalty=decoding.repetition_penalty,
            max_decoding_length=longest,
            min_decoding_length=0,
            max_input_length=0,
            max_batch_size=max(1, self.shape.batch // decoding.beam),
            use_vmap=self.export.shortlist,
            return_scores=self.scores or decoding.beam > 1,  # a beam search has them anyhow
            return_end_token=True,
            asynchronous=True,
        )

    def _hypotheses(self, result: Any, alpha: float) -> list[Hypothesis]:
        found = []
        for pieces, score in zip(result.hypotheses, result.scores or [0.0] * len(result.hypotheses), strict=True):
            length = len(pieces)
            finished = length > 0 and pieces[-1] == self.end
            tokens = [self.tgt_ids[piece] for piece in (pieces[:-1] if finished else pieces)]
            found.append(Hypothesis(tokens, score, score * length**alpha, finished))
        return found

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
    ) -> list[TokenScores]:
        results = self.translator.score_batch(
            [[self.src_pieces[token] for token in ids[:-1]] for ids in sources],
            [[self.tgt_pieces[token] for token in ids[:-1]] for ids in targets],
            max_input_length=0,
            max_batch_size=min(batch_tokens, MOST_TOKENS),
            batch_type="tokens",
            asynchronous=True,
        )
        return [
            TokenScores(list(ids), list(each.result().log_probs)) for ids, each in zip(targets, results, strict=True)
        ]
