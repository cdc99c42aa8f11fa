"""`minigpt generate`: lets a trained model write text."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from minigpt.errors import UserError
from minigpt.evaluation.generation import Limits, Piece, collect, stream_texts
from minigpt.evaluation.trained_model import TrainedModel, load_model
from minigpt.model.sampling import Sampling


def run(args: argparse.Namespace) -> None:
    sampling = Sampling(
        args.temperature, args.top_k, args.top_p, args.greedy, args.min_p, args.repetition_penalty
    )
    limits = Limits(args.max_new_tokens, tuple(args.stop), args.ignore_end)
    has_prompt = bool(args.prompt) or args.from_start
    is_conversation = not has_prompt and sys.stdin is not None and sys.stdin.isatty()
    if is_conversation and args.json:
        raise UserError("--json needs a prompt; give --prompt, --from-start or text on stdin")
    model = load_model(args.checkpoint, args.which)
    if is_conversation:
        converse(model, sampling, limits, args.seed)
        return
    prompts: Sequence[str | None] = [None] if args.from_start else args.prompt or [_stdin()]
    pieces = stream_texts(model, prompts, sampling, limits, args.seed, args.batch)
    if args.json:
        texts = [dataclasses.asdict(text) for text in collect(prompts, pieces)]
        result = {
            "checkpoint": str(model.checkpoint),
            "seed": args.seed,
            "sampling": dataclasses.asdict(sampling),
            "texts": texts,
        }
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        print_in_order(prompts, pieces)


def _stdin() -> str:
    """All of standard input, without the newline that `echo` and here-documents add."""
    return sys.stdin.read().removesuffix("\n") if sys.stdin is not None else ""


def print_in_order(prompts: Sequence[str | None], pieces: Iterator[Piece]) -> None:
    """Print each prompt and its text, a blank line between two.

    The first text that is not whole is printed as it comes; later ones wait for it.
    """
    waiting = [prompt or "" for prompt in prompts]
    ended = [False] * len(prompts)
    current = 0
    for piece in pieces:
        waiting[piece.prompt] += piece.text
        ended[piece.prompt] = piece.end is not None
        while current < len(prompts):
            sys.stdout.write(waiting[current])
            waiting[current] = ""
            if not ended[current]:
                break
            current += 1
            sys.stdout.write("\n\n" if current < len(prompts) else "\n")
        sys.stdout.flush()


def converse(model: TrainedModel, sampling: Sampling, limits: Limits, seed: int) -> None:
    """Ask for a prompt and continue it, until Ctrl-D. Ctrl-C ends the text that is being written.

    A prompt that cannot be continued is said in one line, and the next one asked for.
    """
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401  # gives `input` a history and keys for editing
    print("Type a text to continue; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            prompt = input("> ")
        except EOFError:
            print()
            return
        if not prompt:
            continue
        try:
            print_in_order([prompt], stream_texts(model, [prompt], sampling, limits, seed))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()
