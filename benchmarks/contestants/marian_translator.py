"""A translator from Hugging Face's MarianMTModel within a given time, as a careful person would write it.

    python marian_translator.py FOLDER MINUTES THREADS < test.en > test.de

FOLDER holds ``{train,valid}.{en,de}`` and ``pieces.model``, a SentencePiece model. 3 + 3 layers, d_model
256, under bfloat16 autocast; batches of like lengths, at most 4,096 padded tokens; AdamW, whose rate rises
over a twentieth of the time and falls in a straight line to zero at its end, gradients clipped to 1, label
smoothing 0.1, dropout 0.2. Five times it translates the validation set greedily, and the weights with the
best BLEU translate standard input in the end, by beam search.
"""

import copy
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sacrebleu
import torch
from marian import build_model
from sentencepiece import SentencePieceProcessor
from stage import Terms
from torch import Tensor, nn

BATCH_TOKENS = 4096
RATE, WARM_UP = 1e-3, 0.05
VALIDATIONS = 5
BEAM = 4
LONGEST = 256

Pair = tuple[list[int], list[int]]


class Translator:
    """A model and its pieces.

    Args:
        pieces: cuts text; its unknown piece is 0, begin 1, end 2, and padding is put behind all pieces.
    """

    def __init__(self, pieces: SentencePieceProcessor, threads: int) -> None:
        self.pieces = pieces
        self.pad = len(pieces)
        terms = Terms(
            batches="", threads=threads, precision="bfloat16", vocab_size=len(pieces) + 1, pad=self.pad,
            unk=pieces.unk_id(), bos=pieces.bos_id(), eos=pieces.eos_id(),
            d_model=256, d_ff=1024, num_heads=8, num_layers=3, dropout=0.2,
        )  # fmt: skip
        self.terms = terms
        self.model = build_model(terms)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids that end in the end token."""
        found: list[list[int]] = self.pieces.encode(list(lines), add_eos=True)
        return found

    def padded(self, rows: Sequence[list[int]]) -> Tensor:
        """[B, T]."""
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, self.pad)

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """The mean of a batch."""
        src, targets = (self.padded(side) for side in zip(*pairs, strict=True))
        tgt = self.padded([[self.terms.bos, *target[:-1]] for _, target in pairs])
        with self.terms.autocast():
            logits = self.model(
                input_ids=src,
                attention_mask=(src != self.pad).long(),
                decoder_input_ids=tgt,
                use_cache=False,
            ).logits
            return nn.functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=self.pad, label_smoothing=0.1
            )

    @torch.inference_mode()
    def translate(self, lines: Sequence[str], beam: int) -> list[str]:
        """One translation for each line."""
        self.model.eval()
        sources = self.encode(lines)
        order = sorted(range(len(lines)), key=lambda row: len(sources[row]))
        found = [""] * len(lines)
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            src = self.padded([sources[row] for row in rows])
            answers = self.model.generate(
                input_ids=src,
                attention_mask=(src != self.pad).long(),
                num_beams=beam,
                do_sample=False,
                max_new_tokens=min(LONGEST, 2 * src.size(1) + 10),
            )
            for row, answer in zip(rows, answers.tolist(), strict=True):
                found[row] = self.pieces.decode([token for token in answer if token < self.pad])
        self.model.train()
        return found


def batches_of(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Epoch after epoch: batches of like lengths within ``BATCH_TOKENS``, shuffled."""
    while True:
        batches: list[list[Pair]] = [[]]
        for pair in sorted(pairs, key=lambda pair: (max(map(len, pair)), len(pair[0]), random.random())):
            if (len(batches[-1]) + 1) * max(map(len, pair)) > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(pair)
        random.shuffle(batches)
        yield from batches


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def main(folder: Path, minutes: float, threads: int) -> None:
    began = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    random.seed(1)
    translator = Translator(SentencePieceProcessor(str(folder / "pieces.model")), threads)
    model = translator.model.train()
    texts = {name: lines_of(folder / name) for name in ("train.en", "train.de", "valid.en", "valid.de")}
    pairs = list(zip(*(translator.encode(texts[name]) for name in ("train.en", "train.de")), strict=True))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.98), fused=True)
    best, kept, step, tokens, validation, due = -1.0, copy.deepcopy(model.state_dict()), 0, 0, 0.0, 1 / VALIDATIONS
    for batch in batches_of(pairs):
        past = (time.perf_counter() - began + validation) / (60 * minutes)  # the last one has to fit in
        if past >= min(due, 1):
            asked = time.perf_counter()
            answers = translator.translate(texts["valid.en"], beam=1)
            bleu = sacrebleu.corpus_bleu(answers, [texts["valid.de"]]).score
            validation = time.perf_counter() - asked
            now = time.perf_counter() - began
            print(f"{now:.0f} s, step {step}, {tokens} target tokens: BLEU {bleu:.2f}", file=sys.stderr)
            if bleu > best:
                best, kept = bleu, copy.deepcopy(model.state_dict())
            due += 1 / VALIDATIONS
            if past >= 1:
                break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(past / WARM_UP, (1 - past) / (1 - WARM_UP))
        translator.loss(batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step, tokens = step + 1, tokens + sum(len(target) for _, target in batch)
    print(f"trained for {time.perf_counter() - began:.1f} s", file=sys.stderr)
    model.load_state_dict(kept)
    print("\n".join(translator.translate(sys.stdin.read().splitlines(), BEAM)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
