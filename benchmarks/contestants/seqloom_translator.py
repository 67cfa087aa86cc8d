"""Seqloom's translator from text to text, by one of its engines.

By CTranslate2 it has the workers and threads that its own probe has chosen, and by torch the threads that
``seqloom translate`` would set. The size of its batches, which is otherwise its own choice, is given.
"""

from collections.abc import Callable
from dataclasses import replace

from booth import Contestant, Terms, in_batches, perform

from seqloom.config import DecodingConfig
from seqloom.pipeline.engines import Running, WithTorch, read_translator
from seqloom.pipeline.translator import Translator, open_translator
from seqloom.tasks.setup import TranslatorSetup

WHOLE = 1 << 20
"""Tokens of a batch that torch does not cut."""


def prepare(terms: Terms) -> Contestant:
    return by_torch(terms) if terms.engine == "torch" else by_ctranslate2(terms)


def by_torch(terms: Terms) -> Contestant:
    translator = with_torch(terms)
    encode = translator.setup.src_tokenizer.encode

    def translate(texts: list[str], beam: int, batch: int) -> list[str]:
        lengths = dict(zip(texts, map(len, encode(texts)), strict=True))
        return in_batches(translating(translator, terms, beam, batch_tokens=WHOLE), texts, batch, lengths.__getitem__)

    return Contestant(translate)


def by_ctranslate2(terms: Terms) -> Contestant:
    """With the export in one type, proven or not; what it cannot do, which a guard may ask for, is left to torch."""
    from seqloom.export.ctranslate2_engine import CTranslate2Engine
    from seqloom.export.store import find_export
    from seqloom.pipeline.probe import choose

    folder = read_translator(terms.model, weights=False)
    setup = TranslatorSetup.from_folder(folder)
    export, problem = find_export(folder, terms.precision)
    if export is None:
        raise SystemExit(problem or f"{terms.model}: has no export in {terms.precision}")
    shape = choose([export], setup, terms.threads * terms.workers).shape
    fast = CTranslate2Engine(export, setup, shape, scores=False)
    engine = WithTorch(fast, lambda: with_torch(terms).engine, lambda text: None)
    translator = Translator(folder, setup, engine)

    def translate(texts: list[str], beam: int, batch: int) -> list[str]:
        fast.shape = replace(shape, batch=batch * beam)
        return translating(translator, terms, beam)(texts)

    return Contestant(translate, f"{shape.workers} x {shape.threads} threads")


def with_torch(terms: Terms) -> Translator:
    def before_torch() -> None:
        from seqloom.training.process import arrange

        arrange(terms.threads)

    return open_translator(terms.model, Running("cpu", "torch", terms.threads, before_torch=before_torch))


def translating(translator: Translator, terms: Terms, beam: int, **options: int) -> Callable[[list[str]], list[str]]:
    """From texts to texts by the search of the terms alone, whatever the model is used with otherwise.

    Outputs are bounded as the peers' are: those have no bound by the length of the source.
    """
    bounds = {"max_length": terms.max_length, "max_length_ratio": 0}
    plain = DecodingConfig(beam=beam, length_penalty=terms.length_penalty, **bounds).model_dump()
    return lambda texts: [found.text for found in translator.translate(texts, guard=terms.guard, **options, **plain)]


if __name__ == "__main__":
    perform(prepare)
