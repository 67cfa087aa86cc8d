"""Mathematics on tensors: plain arguments in, tensors out; no config, no file, no word.

Dimension letters, used in every shape comment of the package:

    B  batch (sentences, or hypotheses while searching)
    T  time: tokens of one sequence; Q and K where queries and keys differ in number
    S  time on the source side
    D  d_model, the width of the model        F  d_ff, the width inside the feed-forward layers
    H  heads                                  E  head_dim = D / H
    G  heads of keys and values, G = H unless they are grouped
    V  vocabulary                             N  tokens of a batch, padding left out

Batch first, always. Masks are boolean and True = may attend.
"""
