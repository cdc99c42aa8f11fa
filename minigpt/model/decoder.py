"""Reads sequences a token at a time, each with the keys and values of its own window.

Shapes: B sequences, T tokens, C channels (n_embd), V vocabulary; "_" any number of tokens.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.model.attention import Places
from minigpt.model.gpt import GPT
from minigpt.model.softcap import soft_cap_


class Decoder:
    """A network that remembers what it has read of several sequences, of any lengths.

    The network sees block_size tokens at most. Where a sequence's window is full, its last half
    block_size tokens begin a new one: their keys are computed again, at positions from 0, and the
    window grows from there. So a token costs the same however long the text is, and is predicted
    from at least half a context.
    """

    def __init__(self, net: GPT, sequences: Sequence[Int[Tensor, "_"]]) -> None:
        """sequences: what is read already; of each the last block_size tokens, or none."""
        self.net = net
        self.block_size = net.config.block_size
        self.device = net.head.weight.device
        self.caches = net.empty_caches(len(sequences))
        # The tokens whose keys are cached, and how many there are of each sequence.
        self.windows = torch.zeros(
            len(sequences), self.block_size, dtype=torch.long, device=self.device
        )
        self.lengths = [0] * len(sequences)
        self._fill({row: ids[-self.block_size :] for row, ids in enumerate(sequences)})

    @torch.inference_mode()
    def read(self, tokens: Int[Tensor, "B 1"]) -> Float[Tensor, "B V"]:
        """(B, 1), one more token of each sequence -> (B, V), logits of the token after it."""
        self._slide()
        places = self._places()
        if places is None:
            self.windows[:, self.lengths[0]] = tokens[:, 0]
        else:
            self.windows.scatter_(1, places.positions, tokens)
        before = None if self.net.bigrams is None else self._last_tokens()
        hidden = self.net.hidden(tokens, self.caches, places, before)[:, 0]  # (B, C)
        self.lengths = [length + 1 for length in self.lengths]
        if len(hidden) == 1:
            # The weight as it is stored times one column is as fast as its transpose, which would
            # take the time of twenty tokens to lay out.
            logits = torch.mm(self.net.head.weight, hidden.T).T  # (1, V)
        else:
            logits = hidden @ self._transposed_head  # (B, V)
        if self.net.head.bias is not None:
            logits += self.net.head.bias
        return soft_cap_(logits, self.net.config.logit_softcap)

    @cached_property
    def _transposed_head(self) -> Float[Tensor, "C V"]:
        # Multiplying a few rows by a contiguous transpose is four times as fast on CPU.
        return self.net.head.weight.detach().T.contiguous()

    def _last_tokens(self) -> Int[Tensor, "B 1"]:
        """The token that was read last of each sequence; vocab_size where there is none."""
        lengths = torch.tensor(self.lengths, device=self.device)[:, None]  # (B, 1)
        last = self.windows.gather(1, (lengths - 1).clamp_min(0))
        return last.where(lengths > 0, self.net.config.vocab_size)

    @torch.inference_mode()
    def keep(self, rows: list[int]) -> None:
        """Forget all sequences but these."""
        index = torch.tensor(rows, device=self.device)
        self.windows = self.windows[index]
        self.lengths = [self.lengths[row] for row in rows]
        for cache in self.caches:
            cache.keys, cache.values = cache.keys[index], cache.values[index]

    def _places(self) -> Places | None:
        """Where the next tokens go; None if that is the same position in all sequences."""
        if min(self.lengths) != max(self.lengths):
            return Places.behind(self.lengths, self.device)
        for cache in self.caches:
            cache.length = self.lengths[0]
        return None

    def _slide(self) -> None:
        """Begin a new window where one is full, with room for the token that is read next."""
        kept = max(1, self.block_size // 2) - 1  # the next token makes it half a context
        full = [row for row, length in enumerate(self.lengths) if length == self.block_size]
        if full:
            self._fill({row: self.windows[row, self.block_size - kept :].clone() for row in full})

    @torch.inference_mode()
    def _fill(self, windows: dict[int, Int[Tensor, "_"]]) -> None:
        """Replace the windows of some rows; those of one length are read together."""
        rows_by_length = sorted(windows, key=lambda row: len(windows[row]))
        for length, group in groupby(rows_by_length, key=lambda row: len(windows[row])):
            rows = [*group]
            for row in rows:
                self.lengths[row] = length
            if length == 0:
                continue
            tokens = torch.stack([windows[row] for row in rows])  # (rows, T)
            caches = self.net.empty_caches(len(rows))
            self.net.hidden(tokens, caches)
            index = torch.tensor(rows, device=self.device)
            self.windows[index, :length] = tokens
            for cache, new in zip(self.caches, caches, strict=True):
                cache.keys[index, :, :length] = new.keys[:, :, :length]
                cache.values[index, :, :length] = new.values[:, :, :length]
