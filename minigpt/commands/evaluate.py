"""`minigpt evaluate`: how well a trained model predicts a text."""

import argparse
import json

import torch

from minigpt.errors import UserError
from minigpt.evaluation.evaluate import HELD_OUT, evaluate
from minigpt.evaluation.evaluation_files import figures, write_evaluation
from minigpt.evaluation.other_text import other_store
from minigpt.evaluation.trained_model import TrainedModel, load_model, training_store
from minigpt.reports.evaluation import print_evaluation
from minigpt.runs.run_folder import RunFolder, run_of
from minigpt.tokens.store import TokenStore


def run(args: argparse.Namespace) -> None:
    device = choose_device(args.device)
    model = load_model(args.checkpoint, args.which)
    store = _text(args, model)
    model.net.to(device)
    precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[args.precision]
    # The same split twice would count its documents twice.
    splits = list(dict.fromkeys(args.split))
    evaluation = evaluate(model, store, splits, stride=args.stride, precision=precision)
    out = _folder(args)
    if out is not None:
        write_evaluation(out, evaluation, model.checkpoint)
    if args.json:
        print(json.dumps(figures(evaluation, model.checkpoint), indent=2, ensure_ascii=False))
    else:
        print_evaluation(evaluation, model.checkpoint, store, out)


def choose_device(name: str) -> torch.device:
    """The device of `auto`, `cpu` or `cuda`. Raises UserError where there is no GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; use --device cpu")
    on_gpu = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if on_gpu else "cpu")


def _text(args: argparse.Namespace, model: TrainedModel) -> TokenStore:
    if args.overrides:
        return other_store(model, args.overrides)
    run = run_of(args.checkpoint)
    if run is None:
        raise UserError(
            f"{args.checkpoint} is not in a run folder, whose text would be read; name a text with "
            "data=..., such as data=files 'data.files=[my.txt]'"
        )
    return training_store(run, model)


def _folder(args: argparse.Namespace) -> RunFolder | None:
    """Where the figures are written.

    A run keeps the figures of the same measurement that ends every run. Those of other text,
    splits, strides or weights would stand under their name, so they need --out.
    """
    if args.out:
        return RunFolder(args.out)
    usual = (
        not args.overrides
        and args.which == "best"
        and set(args.split) == set(HELD_OUT)
        and args.stride is None
        and args.precision == "float32"
    )
    return RunFolder(args.checkpoint) if args.checkpoint.is_dir() and usual else None
