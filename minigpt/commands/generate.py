"""`minigpt generate`: lets a trained model write text."""

import argparse
import sys

from minigpt.evaluation.generation import generate_text
from minigpt.evaluation.trained_model import load_model
from minigpt.model.generate import Sampling


def run(args: argparse.Namespace) -> None:
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.greedy)
    model = load_model(args.checkpoint, args.which)
    prompt = None if args.from_start else args.prompt
    text = generate_text(
        model.net, model.tokenizer, prompt, args.max_new_tokens, sampling, args.seed
    )
    sys.stdout.write((prompt or "") + text + "\n")
