"""A checkpoint and prompts -> text, as it comes or whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from minigpt.errors import UserError, check_types
from minigpt.evaluation.prompts import encode_prompt
from minigpt.evaluation.text_stream import TextStream
from minigpt.evaluation.trained_model import TrainedModel, load_model
from minigpt.model.generate import Continuation
from minigpt.model.sampling import Sampling


class End(StrEnum):
    """Why a text is not longer."""

    LENGTH = "length"  # max_new_tokens
    STOP = "stop"  # a stop string
    END_OF_TEXT = "end of text"  # the network wrote the id that stands between documents


@dataclass(frozen=True)
class Limits:
    """What ends a text. Raises UserError, naming the key, on a value out of range."""

    max_new_tokens: int = 100
    stop: tuple[str, ...] = ()  # the text ends before the first of these
    ignore_end: bool = False  # go on where the network ends a document

    def __post_init__(self) -> None:
        check_types("limits", self)
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if "" in self.stop:
            raise UserError("stop must not be an empty text; leave it out")


@dataclass(frozen=True)
class WrittenToken:
    id: int
    text: str  # U+FFFD in place of half a character
    probability: float  # under the network's own distribution
    sampled_probability: float  # after temperature, cuts and repetition penalty; greedy: 1


@dataclass(frozen=True)
class Piece:
    """One more token of one text."""

    prompt: int  # its number, from 0
    text: str  # what has become certain with this token; it may be empty
    token: WrittenToken
    end: End | None  # set on the last token of a text


@dataclass(frozen=True)
class GeneratedText:
    prompt: str | None
    text: str  # without the prompt
    end: End
    tokens: list[WrittenToken]  # all that were drawn, including those of a stop string


def generate(
    run: Path | str | TrainedModel,
    prompts: Sequence[str | None],
    *,
    max_new_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    greedy: bool = False,
    stop: Sequence[str] = (),
    ignore_end: bool = False,
    seed: int = 0,
    batch: bool = False,
    which: str = "best",
) -> list[GeneratedText]:
    """The continuation of each prompt; of None, a document from its start.

    run: a run folder, a checkpoint, or what `load_model` returned. which: best or last, of a run
    folder. Raises UserError as `stream_texts` does, which explains batch.
    """
    sampling = Sampling(temperature, top_k, top_p, greedy, min_p, repetition_penalty)
    limits = Limits(max_new_tokens, tuple(stop), ignore_end)
    model = run if isinstance(run, TrainedModel) else load_model(Path(run), which)
    return collect(prompts, stream_texts(model, prompts, sampling, limits, seed, batch))


def collect(prompts: Sequence[str | None], pieces: Iterator[Piece]) -> list[GeneratedText]:
    """The whole texts of pieces."""
    texts: list[list[Piece]] = [[] for _ in prompts]
    for piece in pieces:
        texts[piece.prompt].append(piece)
    whole = []
    for prompt, written in zip(prompts, texts, strict=True):
        end = written[-1].end
        assert end is not None
        text = "".join(piece.text for piece in written)
        whole.append(GeneratedText(prompt, text, end, [piece.token for piece in written]))
    return whole


def stream_texts(
    model: TrainedModel,
    prompts: Sequence[str | None],
    sampling: Sampling,
    limits: Limits,
    seed: int,
    batch: bool = False,
) -> Iterator[Piece]:
    """The continuation of each prompt, a token at a time; of None, a document from its start.

    Every prompt has the seed to itself, so that its text is the same whatever the other prompts
    are. batch: write all texts together, a token of each in turn. That is faster, but a product of
    several rows rounds otherwise than one of a row, and now and then a draw falls on another token.
    Raises UserError for no prompt, one that is empty or too long, and where there is no start.
    """
    if not prompts:
        raise UserError("there is no prompt; give at least one")
    if not 0 <= seed < 2**63:
        raise UserError(f"seed must be a whole number from 0 to 2^63 - 1, got {seed}")
    sequences = [torch.tensor(encode_prompt(model, prompt)) for prompt in prompts]
    numbers = [*range(len(prompts))]
    groups = [numbers] if batch else [[number] for number in numbers]
    return chain.from_iterable(
        _stream(model, {number: sequences[number] for number in group}, sampling, limits, seed)
        for group in groups
    )


def _stream(
    model: TrainedModel, sequences: dict[int, Tensor], sampling: Sampling, limits: Limits, seed: int
) -> Iterator[Piece]:
    """sequences: what to continue, by the number of the prompt."""
    end_of_text = None if limits.ignore_end else model.separator
    seeds = [seed] * len(sequences)
    continuation = Continuation(model.net, [*sequences.values()], sampling, seeds)
    texts = {prompt: TextStream(limits.stop) for prompt in sequences}
    unfinished = [*sequences]  # a row of the network each
    for count in range(1, limits.max_new_tokens + 1):
        ids = continuation.next_tokens()[:, 0].tolist()
        raw, sampled = (values.tolist() for values in continuation.probabilities())
        rows = []  # that go on
        for row, (prompt, i) in enumerate(zip(unfinished, ids, strict=True)):
            token_bytes = model.tokenizer.token_bytes(i)
            text, end = "", None
            if i == end_of_text:
                end = End.END_OF_TEXT
            else:
                text = texts[prompt].push(token_bytes)
                if texts[prompt].stopped:
                    end = End.STOP
                elif count == limits.max_new_tokens:
                    end = End.LENGTH
            if end is None:
                rows.append(row)
            elif end is not End.STOP:
                text += texts[prompt].close()
            shown = token_bytes.decode("utf-8", "replace")
            token = WrittenToken(i, shown, raw[row], sampled[row])
            yield Piece(prompt, text, token, end)
        if not rows:
            return
        if len(rows) < len(unfinished):
            continuation.keep(rows)
            unfinished = [unfinished[row] for row in rows]
