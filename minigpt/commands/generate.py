"""`minigpt generate`: lets a trained model write text."""

import argparse
import sys

from minigpt.evaluation.generation import generate_text, load
from minigpt.model.generate import Sampling


def run(args: argparse.Namespace) -> None:
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.greedy)
    net, tokenizer = load(args.checkpoint, args.which)
    prompt = None if args.from_start else args.prompt
    text = generate_text(net, tokenizer, prompt, args.max_new_tokens, sampling, args.seed)
    sys.stdout.write((prompt or "") + text + "\n")
