"""CTranslate2 by itself: its own batches, between SentencePiece's two calls."""

import ctranslate2
from booth import Contestant, Pieces, Terms, perform


def prepare(terms: Terms) -> Contestant:
    pieces = Pieces(terms)
    translator = ctranslate2.Translator(
        str(terms.model / f"ctranslate2-{terms.precision}"),
        device="cpu",
        compute_type=terms.precision,
        inter_threads=terms.workers,
        intra_threads=terms.threads,
    )

    def translate(texts: list[str], beam: int, batch: int) -> list[str]:
        found = translator.translate_batch(
            pieces.src.encode(texts, out_type=str),
            beam_size=beam,
            length_penalty=terms.length_penalty,
            max_decoding_length=terms.max_length,
            max_input_length=0,
            max_batch_size=batch,
        )
        texts_of: list[str] = pieces.tgt.decode([each.hypotheses[0] for each in found])
        return texts_of

    return Contestant(translate, f"CTranslate2 {ctranslate2.__version__}, {terms.workers} x {terms.threads} threads")


if __name__ == "__main__":
    perform(prepare)
