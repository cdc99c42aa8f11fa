"""How much memory a training step needs at its peak, computed from its configuration.

Sizes in bytes. Shapes: N tokens of a batch, T context, C channels (n_embd), H heads, U hidden
units, V vocabulary, P parameters.
"""

from dataclasses import dataclass

from minigpt.model.config import GPTConfig
from minigpt.model.feed_forward import hidden_units
from minigpt.model.fused_head import ALIGNMENT, FUSED
from minigpt.model.gpt import count_parameters
from minigpt.model.loss import CHUNK_ROWS, has_chunked_operator

FLOAT32 = 4
STATISTIC = 4  # a mean, a deviation or a sum of one row, in float32


@dataclass(frozen=True)
class StepSettings:
    """What a step's memory depends on beside the network."""

    batch_size: int  # of this process
    loss: str  # the method, resolved
    bfloat16: bool  # the network multiplies in it; weights and the residual stream are float32
    on_cpu: bool
    muon: bool = False
    averaged: bool = False  # there is an average of the weights
    processes: int = 1
    sharded: bool = False  # weights are divided among the processes


def estimate_memory(model: GPTConfig, step: StepSettings) -> int:
    """Peak bytes of a training step in one process, without those of Python and of libraries.

    These are the tensors alive at once. A C library that keeps what is freed holds more.
    """
    part = _Parts(model, step)
    return max(part.at_the_head(), part.in_the_last_attention(), part.in_the_backward_pass())


class _Parts:
    """The terms of the estimate, and their sums at the places where a step's peak may be."""

    def __init__(self, model: GPTConfig, step: StepSettings) -> None:
        self.model, self.step = model, step
        self.N = step.batch_size * model.block_size
        self.U = hidden_units(model.activation, model.mlp_ratio, model.n_embd)
        self.s = 2 if step.bfloat16 else FLOAT32  # of a number in a matrix product
        self.is_dense = step.loss == "dense" or (
            step.loss == "chunked" and not has_chunked_operator()
        )
        self.counts = count_parameters(model)
        self.P = sum(self.counts.values())
        self.rest = self.P - self.counts["blocks"]  # tables, last norm and head

    # What is there all the time.

    def kept(self) -> int:
        """Weights, the optimizer's moments and the average, or this process's share of them."""
        tensors = 4 if self.step.averaged else 3  # a weight, two moments of AdamW, an average
        numbers = tensors * self.P
        if self.step.muon:  # one moment instead of two, of the blocks' matrices
            numbers -= self.counts["blocks"]
        return FLOAT32 * numbers // self._shares() + self._for_processes()

    def gradients(self) -> int:
        """Those of the step before: they are freed between the forward and the backward pass."""
        return FLOAT32 * self.P // self._shares()

    def _shares(self) -> int:
        return self.step.processes if self.step.sharded else 1

    def _for_processes(self) -> int:
        if self.step.processes == 1:
            return 0
        if not self.step.sharded:  # DDP copies gradients to buckets, which it sums
            return FLOAT32 * self.P
        # Whole for the step: what is outside of blocks. Of the blocks, the one that is computed
        # and the next one, which is being gathered.
        return FLOAT32 * (self.rest + 2 * self.counts["blocks"] // self.model.n_layer)

    # What autograd keeps for the backward pass.

    def activations(self) -> int:
        """Of the embedding, all blocks and the last norm."""
        blocks = self.model.n_layer * (self.attention() + self.feed_forward())
        return self.casts() + self.embedding() + blocks + self.norm()

    def casts(self) -> int:
        """Autocast keeps the blocks' weights in bfloat16, cast once a step."""
        return 2 * self.counts["blocks"] if self.step.bfloat16 else 0

    def embedding(self) -> int:
        """The dropout mask, and for shortcuts the normalised embedding and its statistic."""
        m, C = self.model, self.model.n_embd
        mask = self._mask(FLOAT32) * C if m.embd_dropout else 0
        shortcut = FLOAT32 * C + STATISTIC if m.embedding_shortcuts else 0
        return self.N * (mask + shortcut)

    def norm(self) -> int:
        """Its input and the mean and deviation of each row; of an RMS norm its output too."""
        C = self.model.n_embd
        if self.model.norm == "rms":  # before the gain, which is multiplied on its own
            return self.N * (2 * FLOAT32 * C + STATISTIC)
        return self.N * (FLOAT32 * C + 2 * STATISTIC)

    def attention(self) -> int:
        """The first half of a block, with the norm and shortcut before it."""
        m, C, H, s = self.model, self.model.n_embd, self.model.n_head, self.s
        token = s * C  # what queries, keys and values are computed from
        if m.embedding_shortcuts:
            token += FLOAT32 * C  # the stream before it is mixed
        if m.qk_norm:
            # In float32: a copy of queries and keys where they are in bfloat16. Then the
            # normalised ones, before their gains, and a statistic of each head.
            token += (2 * FLOAT32 * C if self.step.bfloat16 else 0) + 2 * s * C
            token += 2 * H * STATISTIC
        if self._own_attention():
            token += 3 * s * C  # copies of queries, keys and values, as matrix products need them
            if m.qk_norm and not self.step.bfloat16:
                token += 3 * s * C  # the norm's input, which lies in one tensor with the values
            token += 3 * s * H * m.block_size  # weights, their dropout mask and the product of both
            token += s * C  # the heads' output, which the last layer reads
        else:
            token += 3 * s * C  # queries, keys and values
            if m.qk_norm or m.positions == "rotary":
                token += 2 * s * C  # queries and keys once more, normalised or turned
            token += s * C + H * STATISTIC  # the output, and the sum of each row of weights
        if m.dropout:
            token += self._mask(s) * C
        future = m.block_size**2 if self._own_attention() else 0  # a byte for each pair of places
        return self.norm() + self.N * token + future

    def feed_forward(self) -> int:
        """The second half of a block, with the norm before it."""
        m, C, s = self.model, self.model.n_embd, self.s
        # Hidden units before and after the activation; swiglu has gates, their silu and products.
        units = (4 if m.activation == "swiglu" else 2) * self.U
        mask = self._mask(s) * C if m.dropout else 0
        return self.norm() + self.N * (s * C + s * units + mask)

    def _own_attention(self) -> bool:
        """True where attention weights are whole tensors: there is no fused kernel with dropout."""
        return self.step.on_cpu and self.model.dropout > 0

    def _mask(self, size: int) -> int:
        """Bytes of a number of a dropout mask: ours holds the scale, torch's is a boolean."""
        return size if self.step.on_cpu else 1

    # The head, which holds no more than a chunk of logits where the loss is fused.

    def head(self) -> int:
        """Hidden states, their gradient, and what the head needs to compute it."""
        m, C, V, N = self.model, self.model.n_embd, self.model.vocab_size, self.N
        hidden = 2 * FLOAT32 * N * C
        if self.is_dense:
            # Logits and their logarithms of the softmax; with a softcap its tanh as well.
            return FLOAT32 * N * C + FLOAT32 * N * V * (3 if m.logit_softcap else 2)
        if self.step.loss not in FUSED:  # of torch and of other libraries: a chunk, the gradient
            return hidden + FLOAT32 * (min(N, CHUNK_ROWS) * V + V * C)
        dtype, rows = FUSED[self.step.loss]
        d, rows = dtype.itemsize, min(N, rows)
        padded = -(-V // ALIGNMENT) * ALIGNMENT
        columns = C + m.head_bias  # the bias is a column of the weight
        logits = d * rows * (padded + (V if m.logit_softcap else 0))  # and their slopes
        is_copied = d < FLOAT32 or m.head_bias
        copies = d * columns * (V + N) if is_copied else 0  # of weight and hidden states
        gradient = FLOAT32 * padded * columns
        # In bfloat16 the product of a chunk, and where others come before it, that in float32.
        sum_of_chunks = FLOAT32 if rows < N else 0
        chunk = (d + sum_of_chunks) * padded * columns if d < FLOAT32 else 0
        last = FLOAT32 * V * C if m.head_bias else 0  # the gradient without the bias's column
        return hidden + logits + copies + gradient + max(chunk, last)

    # Where the peak may be.

    def at_the_head(self) -> int:
        return self.kept() + self.gradients() + self.activations() + self.head()

    def in_the_last_attention(self) -> int:
        """Before the last feed-forward layer: its scores and the random numbers of its mask."""
        scores = self.N * self.model.n_head * self.model.block_size if self._own_attention() else 0
        there = self.activations() - self.feed_forward() - self.norm()
        return self.kept() + self.gradients() + there + max(3, self.s) * scores

    def in_the_backward_pass(self) -> int:
        """In the last feed-forward layer, where all that the blocks keep is still there.

        Beside the gradient of the head lie that of the residual stream, that of its branch, and
        that of the hidden units (swiglu: of gates and products).
        """
        m, C, V, N = self.model, self.model.n_embd, self.model.vocab_size, self.N
        branch = self.s * C if m.dropout or self.step.bfloat16 else 0
        units = self.s * self.U * (2 if m.activation == "swiglu" else 1)
        in_block = FLOAT32 * V * C + N * (FLOAT32 * C + branch + units)
        activations = self.activations() - self.norm()
        there = self.kept() + activations + in_block
        if not self.is_dense:
            return there
        # The logarithms, their gradient and that of the logits.
        at_the_logits = FLOAT32 * N * V * (4 if m.logit_softcap else 3)
        return max(there, self.kept() + self.activations() + at_the_logits)
