"""`minigpt generate`: lets a trained model write text."""

import argparse
import sys
from pathlib import Path

from minigpt.evaluation.generation import generate_text, load
from minigpt.model.generate import Sampling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--prompt", help="the text to continue")
    start.add_argument(
        "--from-start", action="store_true", help="no prompt: begin a document of the model's own"
    )
    parser.add_argument("--max-new-tokens", type=int, default=100, help="tokens to write")
    parser.add_argument("--temperature", type=float, default=1.0, help="divides the logits")
    parser.add_argument("--top-k", type=int, help="sample from the k most likely tokens")
    parser.add_argument(
        "--top-p", type=float, help="sample from the most likely tokens that sum to probability p"
    )
    parser.add_argument("--greedy", action="store_true", help="always take the most likely token")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )


def run(args: argparse.Namespace) -> None:
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.greedy)
    net, tokenizer = load(args.checkpoint, args.which)
    prompt = None if args.from_start else args.prompt
    text = generate_text(net, tokenizer, prompt, args.max_new_tokens, sampling, args.seed)
    sys.stdout.write((prompt or "") + text + "\n")
