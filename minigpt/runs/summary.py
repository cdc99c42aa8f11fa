"""What a run was, how it went and how it ended: the content of summary.json, typed."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from minigpt.errors import UserError


class Status(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # by a signal, after saving; it can be resumed
    FAILED = "failed"  # by an error; the summary's reason says which
    DIVERGED = "diverged"  # a loss, gradient or weight was not a finite number
    KILLED = "killed"  # the summary says "running", but no process holds the folder any more


class _Record(BaseModel):
    """Frozen; unknown keys of a newer version are ignored."""

    model_config = ConfigDict(frozen=True)


class Epoch(_Record):
    """One pass over the training text, or the part of it that was left."""

    epoch: int  # from 1
    step: int  # optimizer steps of the run at its end
    train_loss: float  # nats a token, mean over the epoch's tokens, with dropout
    train_perplexity: float | None  # None where it overflows
    val_loss: float | None = None  # of the last validation in this epoch; None without one
    val_perplexity: float | None = None
    seconds: float


class BestValidation(_Record):
    """The validation with the lowest loss."""

    val_loss: float
    val_perplexity: float | None
    val_bits_per_byte: float | None = None  # None in older runs
    step: int
    epoch: int


class Test(_Record):
    """The loss on the test split, with the weights of the best validation."""

    __test__ = False  # pytest would take it for a test

    loss: float
    perplexity: float | None


class HeldOutText(_Record):
    """Held-out documents, each read on its own, with the weights of the best validation.

    None where there was too little text for the figure.
    """

    documents: int
    tokens: int
    bytes: int  # of UTF-8
    loss: float | None  # nats a token
    loss_stderr: float | None  # clustered by document
    bits_per_byte: float | None
    bits_per_byte_stderr: float | None
    accuracy_at_1: float | None
    accuracy_at_5: float | None


class ComesBack(_Record):
    """Share of passages that the last weights continue word for word (Carlini et al., 2023)."""

    prefix: int  # tokens that are given
    continuation: int  # tokens that have to come back
    passages: int  # of the training text
    train: float
    train_not_repeated: float | None  # of passages that stand once in it; None without any
    held_out_passages: int
    held_out: float | None  # None where no held-out document is long enough


class Rewind(_Record):
    """A return to a checkpoint after a loss, gradient or weight that was not finite."""

    step: int  # at which that was
    to_step: int
    lr: float  # with which training went on
    reason: str


class Sample(_Record):
    """Text that the model wrote at the last validation."""

    prompt: str
    text: str


class Data(_Record):
    """The corpus; tokens and documents by split."""

    source: str
    fingerprint: str
    tokens: dict[str, int]
    documents: dict[str, int]


class TokenizerName(_Record):
    name: str
    fingerprint: str


class Summary(_Record):
    """The whole of summary.json."""

    status: Status
    reason: str | None = None  # of a failure, also of the evaluation of a finished run; one line
    command: str = ""  # that started the run
    overrides: list[str] = []
    resumed_by: list[str] = []  # the commands of later starts
    parameters: int | None = None
    parameters_by_part: dict[str, int] = {}
    vocab_size: int | None = None
    batches_per_epoch: int | None = None
    steps: int = 0  # optimizer steps so far
    skipped_steps: int = 0  # of these, not taken since a loss or gradient was not finite
    rewinds: list[Rewind] = []
    epochs: list[Epoch] = []
    best: BestValidation | None = None
    test: Test | None = None
    evaluation: dict[str, HeldOutText] = {}  # by split; after the test
    comes_back: ComesBack | None = None  # after the test; None also where text is too short
    tokens_seen: int = 0
    tokens_per_second: float | None = None  # of training, validation left out
    wall_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    micro_batch: int | None = None  # sequences that a process computed at once, if memory ran out
    sample: Sample | None = None
    data: Data | None = None
    tokenizer: TokenizerName | None = None
    loss: str | None = None  # the path that `loss=auto` chose
    precision: str | None = None
    device: str | None = None
    versions: dict[str, str] = {}
    code_commit: str | None = None  # of minigpt, when the run started

    @property
    def outcome(self) -> str:
        """The status, and what was left out or done again since numbers were not finite."""
        parts = [self.status.value]
        if self.skipped_steps:
            parts.append(f"{self.skipped_steps} step{'s' * (self.skipped_steps > 1)} skipped")
        if self.rewinds:
            parts.append(f"rewound {len(self.rewinds)} time{'s' * (len(self.rewinds) > 1)}")
        return ", ".join(parts)

    @property
    def final(self) -> Epoch | None:
        """The last epoch."""
        return self.epochs[-1] if self.epochs else None

    @property
    def held_out(self) -> HeldOutText | None:
        """The evaluation of the test text, else of the validation text."""
        return self.evaluation.get("test") or self.evaluation.get("val")


def parse_summary(content: Any, path: Path) -> Summary:
    """A checked summary. Raises UserError that names the file and the first wrong key."""
    try:
        return Summary.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "its content"
        raise UserError(
            f"{path}: {key}: {first['msg']}; the file is damaged or of another version of minigpt"
        ) from None
