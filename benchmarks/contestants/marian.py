"""Hugging Face's MarianMTModel in a careful loop, in float32 or under bfloat16 autocast.

The loss is ``nn.functional.cross_entropy`` with label smoothing, which is faster than what their Trainer
smoothes labels with, and the optimizer their default, fused AdamW.
"""

import torch
import transformers
from stage import Batch, Contestant, Terms, perform
from torch import nn
from transformers import MarianConfig, MarianMTModel


def build_model(terms: Terms) -> MarianMTModel:
    """From random weights."""
    config = MarianConfig(
        vocab_size=terms.vocab_size,
        d_model=terms.d_model,
        encoder_layers=terms.num_layers,
        decoder_layers=terms.num_layers,
        encoder_attention_heads=terms.num_heads,
        decoder_attention_heads=terms.num_heads,
        encoder_ffn_dim=terms.d_ff,
        decoder_ffn_dim=terms.d_ff,
        activation_function="relu",
        dropout=terms.dropout,
        attention_dropout=terms.dropout,
        activation_dropout=terms.dropout,
        scale_embedding=True,
        pad_token_id=terms.pad,
        bos_token_id=terms.bos,
        eos_token_id=terms.eos,
        forced_eos_token_id=None,
        decoder_start_token_id=terms.bos,
    )
    return MarianMTModel(config)


def prepare(terms: Terms) -> Contestant:
    torch.set_num_threads(terms.threads)
    model = build_model(terms).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), terms.learning_rate, terms.betas, weight_decay=terms.weight_decay, fused=True
    )

    def update(batch: Batch) -> float:
        with terms.autocast():
            logits = model(
                input_ids=batch.src,
                attention_mask=(batch.src != terms.pad).long(),
                decoder_input_ids=batch.tgt,
                use_cache=False,
            ).logits
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1),
                batch.targets.flatten(),
                ignore_index=terms.pad,
                label_smoothing=terms.label_smoothing,
            )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), terms.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    remark = f"transformers {transformers.__version__}; post-norm, which it alone offers"
    return Contestant(update, sum(p.numel() for p in model.parameters() if p.requires_grad), remark)


if __name__ == "__main__":
    perform(prepare)
