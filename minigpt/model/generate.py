"""Continue sequences of token ids, one token at a time.

Shapes: B sequences, T tokens, V vocabulary; "_" any number of tokens.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.model.decoder import Decoder
from minigpt.model.gpt import GPT
from minigpt.model.sampling import Sampling, draw, next_token_probabilities, penalise_repetition


class Continuation:
    """Sequences of any lengths that are continued together, a token each at a time.

    A sequence's tokens follow from its own seed. What is continued beside it changes no more than
    the rounding of its logits.
    """

    def __init__(
        self,
        net: GPT,
        sequences: Sequence[Int[Tensor, "_"]],
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> None:
        """sequences: what to continue, at least one token each; net must be in eval mode."""
        assert not net.training
        self.sampling = sampling
        windows = [ids[-net.config.block_size :] for ids in sequences]
        self.decoder = Decoder(net, [ids[:-1] for ids in windows])
        self.tokens = torch.stack([ids[-1:] for ids in windows])  # (B, 1), the last of each
        self.rngs = [torch.Generator(self.tokens.device).manual_seed(seed) for seed in seeds]
        self.seen: Tensor | None = None  # (B, V)
        if sampling.repetition_penalty != 1:
            shape = len(sequences), net.config.vocab_size
            self.seen = torch.zeros(shape, dtype=torch.bool, device=self.tokens.device)
            for row, ids in zip(self.seen, sequences, strict=True):
                row[ids] = True

    @torch.inference_mode()
    def next_tokens(self) -> Int[Tensor, "B 1"]:
        """Choose the next token of each sequence, (B, 1), and append it."""
        self.logits = self.decoder.read(self.tokens)  # (B, V)
        logits = self.logits
        if self.seen is not None:
            logits = penalise_repetition(logits, self.seen, self.sampling.repetition_penalty)
        if self.sampling.greedy:
            self.tokens = logits.argmax(-1, keepdim=True)
        else:
            self.distribution = next_token_probabilities(logits, self.sampling)  # (B, V)
            device = logits.device
            numbers = [torch.rand(1, generator=rng, device=device) for rng in self.rngs]
            self.tokens = draw(self.distribution, torch.stack(numbers))
        if self.seen is not None:
            self.seen.scatter_(1, self.tokens, True)
        return self.tokens

    @torch.inference_mode()
    def probabilities(self) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Of the tokens chosen last: under the network's own distribution, and as sampled."""
        raw = self.logits.float().softmax(-1).gather(1, self.tokens)[:, 0]
        if self.sampling.greedy:
            return raw, torch.ones_like(raw)
        return raw, self.distribution.gather(1, self.tokens)[:, 0]

    @torch.inference_mode()
    def keep(self, rows: list[int]) -> None:
        """Continue these sequences only."""
        self.decoder.keep(rows)
        self.tokens = self.tokens[rows]
        self.rngs = [self.rngs[row] for row in rows]
        if self.seen is not None:
            self.seen = self.seen[rows]


@torch.inference_mode()
def generate(
    net: GPT, tokens: Int[Tensor, "B T"], max_new_tokens: int, sampling: Sampling, seed: int
) -> Int[Tensor, "B T+{max_new_tokens}"]:
    """Append max_new_tokens to each sequence: (B, T) ids -> (B, T + max_new_tokens) ids.

    Row i is drawn with seed + i, and is what it would be alone up to the rounding of its logits.
    No global random state changes.
    Past block_size tokens the window slides as `Decoder` says.
    """
    was_training = net.training
    net.eval()
    seeds = [(seed + row) % 2**63 for row in range(len(tokens))]
    continuation = Continuation(net, [*tokens], sampling, seeds)
    new_tokens = [continuation.next_tokens() for _ in range(max_new_tokens)]  # (B, 1) each
    net.train(was_training)
    return torch.cat([tokens, *new_tokens], dim=1)
