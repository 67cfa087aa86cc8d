"""Hugging Face's ``generate`` of MarianMTModel, with the search that is nearest to CTranslate2's.

``early_stopping`` ends a search when there are as many finished hypotheses as the beam is wide, as patience 1 does;
without it, which is its default, a search takes longer. Texts are cut by SentencePiece itself, which is faster than
MarianTokenizer.
"""

import torch
import transformers
from booth import PAD, Contestant, Pieces, Terms, in_batches, padded, perform
from transformers import MarianMTModel


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    pieces = Pieces(terms)
    model = MarianMTModel.from_pretrained(f"{terms.folder}/huggingface").float().eval()

    @torch.inference_mode()
    def generate(rows: list[list[int]], beam: int) -> list[list[int]]:
        src = torch.tensor(padded(rows, PAD))
        searched = {"early_stopping": True, "length_penalty": terms.length_penalty} if beam > 1 else {}
        found = model.generate(
            input_ids=src,
            attention_mask=(src != PAD).long(),
            num_beams=beam,
            do_sample=False,
            max_new_tokens=terms.max_length,
            **searched,
        )
        answers: list[list[int]] = found[:, 1:].tolist()  # without what the decoder starts from
        return answers

    def translate(texts: list[str], beam: int, batch: int) -> list[str]:
        return pieces.decode(in_batches(lambda rows: generate(rows, beam), pieces.encode(texts), batch, len))

    return Contestant(translate, f"Transformers {transformers.__version__}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    perform(prepare)
