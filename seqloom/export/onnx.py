"""A trained translator as two ONNX graphs: reading a source, and taking a step.

``encoder.onnx`` reads sources once and gives the keys and values that every layer of the decoder looks
them up by. ``decoder_step.onnx`` takes the last token of each hypothesis with the keys and values of
those before it, none at first, and gives logits and one more of each. Both take any number of rows and
any lengths.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqloom.data.tokenizers import BOS, EOS, PAD, SentencePiece
from seqloom.export.transformer import transformer_of
from seqloom.files import new_folder
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.sequence_to_sequence import SequenceToSequence
from seqloom.tasks.setup import TranslatorSetup


class Reading(nn.Module):
    """Sources -> keys and values of each layer's attention to them."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, src: Tensor, src_mask: Tensor) -> list[Tensor]:
        """``src`` [B, S] ids, ``src_mask`` [B, S] True at real tokens -> 2 x layers [B, G, S, E]."""
        memory = self.model.encode(src, src_mask)
        return [part for block in self.model.decoder.layers() for part in block.cross_attention.keys_values(memory)]


class Stepping(nn.Module):
    """The last token of each hypothesis -> logits of the next, and what is remembered of it."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Tensor, src_mask: Tensor, memory: list[Tensor], past: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """``tokens`` [B], ``memory`` as of ``Reading``, ``past`` 2 x layers [B, G, T, E] -> [B, V] and T + 1."""
        state = self.model.decoder.resume(memory, past, src_mask)
        logits = self.model.step(tokens, state)
        return logits, [part for each in state.past for part in each.so_far()]


def write_onnx(model: SequenceToSequence, setup: TranslatorSetup, out: Path) -> None:
    """Writes both graphs, the tokenizers and ``generation.json`` into a new folder.

    Raises:
        UserError: if the model is no Transformer.
    """
    transformer, config = transformer_of(model, setup.model, "ONNX")
    with new_folder(out) as new:
        _write_graphs(transformer.eval(), new)
        _, files = setup.describe()
        for name, content in files.items():
            (new / name).write_bytes(content)
        about = {
            "languages": list(setup.languages),
            "tags": [direction.tag for direction in setup.directions],
            "pad": PAD,
            "bos": BOS,
            "eos": EOS,
            "layers": config.num_decoder_layers,
            "heads": config.num_kv_heads or config.num_heads,
            "head_dim": config.d_model // config.num_heads,
            "max_length": setup.decoding.max_length,
        }
        (new / "generation.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        pieces = isinstance(setup.src_tokenizer, SentencePiece) and isinstance(setup.tgt_tokenizer, SentencePiece)
        (new / "README.md").write_text(README + (SCRIPT if pieces else WORDS), encoding="utf-8")


def _write_graphs(model: EncoderDecoder, folder: Path) -> None:
    rows, sources, said = (torch.export.Dim(name, min=1, max=1 << 16) for name in ("rows", "sources", "said"))
    src = torch.tensor([[5, 7, EOS], [9, EOS, PAD]])
    mask = src != PAD
    with torch.inference_mode():
        memory = Reading(model)(src, mask)
        past = [each[:, :, :2].contiguous() for each in memory]
    layers = range(len(memory) // 2)
    names = [f"{part}.{layer}" for layer in layers for part in ("keys", "values")]
    by_source = {0: rows, 1: sources}
    _export(
        Reading(model).eval(),
        (src, mask),
        folder / "encoder.onnx",
        ["src", "src_mask"],
        [f"memory_{name}" for name in names],
        [by_source, by_source],
    )
    _export(
        Stepping(model).eval(),
        (torch.tensor([BOS, BOS]), mask, memory, past),
        folder / "decoder_step.onnx",
        ["tokens", "src_mask", *(f"memory_{name}" for name in names), *(f"past_{name}" for name in names)],
        ["logits", *(f"present_{name}" for name in names)],
        [{0: rows}, by_source, [{0: rows, 2: sources}] * len(memory), [{0: rows, 2: said}] * len(past)],
    )


def _export(
    module: nn.Module,
    example: tuple[Any, ...],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[Any],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what will change inside of the exporter
        logging.disable(logging.WARNING)  # what it could not find for models of other kinds
        try:
            torch.onnx.export(
                module,
                example,
                path,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=tuple(dynamic),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        finally:
            logging.disable(logging.NOTSET)


README = """# A translator as ONNX

`encoder.onnx` reads sources once; `decoder_step.onnx` takes a step.
"""

WORDS = """
The vocabulary is a list of words in JSON, `src.model`: texts have to be cut into these first.
"""

SCRIPT = """
With `pip install onnxruntime sentencepiece`, run in this folder, this translates one line by greedy search:

```python
import json, unicodedata, numpy as np, onnxruntime, sentencepiece
from pathlib import Path
about = json.loads(Path("generation.json").read_text())
encoder, decoder = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("encoder", "decoder_step"))
src = sentencepiece.SentencePieceProcessor("src.model")
tgt = sentencepiece.SentencePieceProcessor("tgt.model" if Path("tgt.model").exists() else "src.model")
text = unicodedata.normalize("NFC", " ".join(input().split()))
ids = np.array([[*map(src.piece_to_id, about["tags"][:1]), *src.encode(text), about["eos"]]])
mask = np.ones_like(ids, dtype=bool)
names = [f"{part}.{layer}" for layer in range(about["layers"]) for part in ("keys", "values")]
memory = dict(zip([f"memory_{name}" for name in names], encoder.run(None, {"src": ids, "src_mask": mask})))
empty = np.zeros((1, about["heads"], 0, about["head_dim"]), np.float32)
past, said = {f"past_{name}": empty for name in names}, [about["bos"]]
while len(said) <= about["max_length"] and (len(said) == 1 or said[-1] != about["eos"]):
    logits, *present = decoder.run(None, {"tokens": np.array(said[-1:]), "src_mask": mask, **memory, **past})
    past, said = dict(zip(past, present)), [*said, int(logits[0].argmax())]
print(tgt.decode([token for token in said[1:] if token != about["eos"]]))
```
"""
