"""Attention without positions is blind to order: in an encoder. In a decoder its mask tells."""

import torch

from seqloom.config import ModelConfig
from seqloom.lab.page import Page, Plot, Table, Text
from seqloom.layers.positions import POSITIONS
from seqloom.models.encoder_decoder import EncoderDecoder

VOCAB, LENGTH, ROWS = 97, 11, 7
KINDS = tuple(POSITIONS)
DEPTHS = (1, 2, 3, 6)
BLIND = 1e-4
"""What rounding may come to, of numbers of size 1."""


def model_with(positions: str, depth: int) -> EncoderDecoder:
    torch.manual_seed(5)
    sizes = {"d_model": 64, "d_ff": 128, "num_heads": 4, "num_layers": depth}
    config = ModelConfig.model_validate({"positions": positions, "dropout": 0.0, **sizes})
    return EncoderDecoder(config, VOCAB, VOCAB).eval()


@torch.no_grad()
def told_by_encoder(positions: str, depth: int = 3) -> float:
    """How much the memory changes, at most, beyond moving along, when the tokens of the source change places."""
    model = model_with(positions, depth)
    src, order = torch.randint(4, VOCAB, (ROWS, LENGTH)), torch.randperm(LENGTH)
    return float((model.encode(src[:, order]) - model.encode(src)[:, order]).abs().max())


@torch.no_grad()
def told_by_decoder(positions: str, depth: int = 3) -> float:
    """How much the state of the last token changes, at most, when those before it change places."""
    model = model_with(positions, depth)
    src, tgt = torch.randint(4, VOCAB, (ROWS, LENGTH)), torch.randint(4, VOCAB, (ROWS, LENGTH))
    order = torch.cat([torch.randperm(LENGTH - 1), torch.tensor([LENGTH - 1])])
    memory = model.encode(src)
    return float((model.decode(tgt[:, order], memory) - model.decode(tgt, memory))[:, -1].abs().max())


def order(full: bool) -> Page:
    """The page; there is no longer version of it."""
    encoder = {kind: told_by_encoder(kind) for kind in KINDS}
    decoder = {kind: told_by_decoder(kind) for kind in KINDS}
    depths = {
        "encoder": [told_by_encoder("none", depth) for depth in DEPTHS],
        "decoder": [told_by_decoder("none", depth) for depth in DEPTHS],
    }
    blind = [kind for kind in KINDS if encoder[kind] < BLIND]
    one, more = depths["decoder"][0], min(depths["decoder"][1:])
    textbook = blind == ["none"]
    surprise = one < BLIND < more
    return Page(
        name="order",
        title=Text("Is attention without positions blind to order?", "没有位置编码的注意力看不见顺序吗？"),
        question=Text(
            "Textbooks say that attention sees a bag of words unless positions are told. Is that so for each part of "
            "a Transformer?",
            "教科书说，不告诉位置，注意力看到的只是一袋词。Transformer 的每一部分都是这样吗？",
        ),
        done=Text(
            f"Models with random weights (d_model 64, 3 layers a side unless said otherwise) read {ROWS} sentences of "
            f"{LENGTH} tokens, and the same in another order. Encoder: the largest difference of the states, each "
            f"compared with that of its own token. Decoder: that of the last token's state, when those before it "
            f"change places. Less than {BLIND:g} is rounding.",
            f"随机权重的模型（d_model 64，未注明时编码器、解码器各 3 层）读 {ROWS} 个 {LENGTH} 词的句子，再读打乱顺序的同一批句子。"
            f"编码器：每个词与其自身状态之差的最大值。解码器：前面的词换位后，最后一个词状态之差的最大值。小于 {BLIND:g} 的是舍入误差。",
        ),
        verdict=Text(
            f"An encoder without positions is {'blind to order' if 'none' in blind else 'not blind to order'}"
            f"{', and every encoding opens its eyes' if textbook else ''}. "
            + (
                f"But a decoder without positions is not, from two layers on: its causal mask lets each token see how "
                f"many came before (differences of {more:.2g} or more; {one:.1g} with one layer)."
                if surprise
                else f"A decoder without positions changes by {one:.1g} with one layer and by at least {more:.2g} with "
                f"more."
            ),
            f"没有位置编码的编码器{'确实看不见顺序' if 'none' in blind else '并非看不见顺序'}"
            f"{'，任何一种编码都使它看见' if textbook else ''}。"
            + (
                f"但解码器从两层起就看得见：因果掩码让每个词知道前面有多少词（差异不小于 {more:.2g}；只有一层时为 {one:.1g}）。"
                if surprise
                else f"没有位置编码的解码器，一层时变化 {one:.1g}，多层时至少变化 {more:.2g}。"
            ),
        ),
        tables=[
            Table(
                ("positions", "encoder changes by", "decoder changes by"),
                [(kind, encoder[kind], decoder[kind]) for kind in KINDS],
            ),
            Table(
                ("layers, without positions", "encoder changes by", "decoder changes by"),
                [(str(depth), depths["encoder"][row], depths["decoder"][row]) for row, depth in enumerate(DEPTHS)],
            ),
        ],
        plots=[
            Plot(
                "layers, without positions",
                "largest change",
                {name: (DEPTHS, values) for name, values in depths.items()},
                log_y=True,
            )
        ],
        sources=(
            "Vaswani et al. 2017, Attention Is All You Need, section 3.5",
            "Haviv et al. 2022, Transformer Language Models without Positional Encodings Still Learn Positional "
            "Information",
        ),
    )
