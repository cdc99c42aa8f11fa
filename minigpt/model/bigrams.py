"""Embeddings of pairs of neighbouring tokens, in a table that pairs share by a hash.

Shapes: B batch, T tokens, C channels (n_embd), V vocabulary.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MULTIPLIER = 2_654_435_761  # a prime near 2^32 / golden ratio (Knuth, 1973, section 6.4)


class BigramEmbedding(nn.Module):
    """A vector for each token together with the one before it, added to the token's own.

    So the first block begins with what a bigram model knows, and need not spend attention on it.
    Pairs share rows (hash embeddings: Svenstrup et al., 2017); with a row for each of the
    V * (V + 1) pairs, none do. The table starts at zero, where the network is the one without it.
    """

    def __init__(self, rows: int, vocab_size: int, n_embd: int) -> None:
        super().__init__()
        self.nothing = vocab_size  # stands in for the token before the first one
        self.multiplier = bigram_multiplier(rows, vocab_size)
        self.table = nn.Embedding(rows, n_embd)

    def forward(
        self, tokens: Int[Tensor, "B T"], before: Int[Tensor, "B 1"] | None = None
    ) -> Float[Tensor, "B T C"]:
        """(B, T) token ids -> (B, T, C).

        before: the token before the first one of each row, or `nothing`; None: nothing everywhere.
        """
        if before is None:
            before = torch.full_like(tokens[:, :1], self.nothing)
        previous = torch.cat([before, tokens[:, :-1]], dim=1)  # (B, T)
        return self.table((previous * self.multiplier + tokens) % self.table.num_embeddings)


def bigram_multiplier(rows: int, vocab_size: int) -> int:
    """m, where the row of tokens (a, b) is (m * a + b) mod rows.

    What follows a token has rows of its own, where the table is no smaller than the vocabulary.
    """
    return vocab_size if rows >= vocab_size * (vocab_size + 1) else MULTIPLIER
