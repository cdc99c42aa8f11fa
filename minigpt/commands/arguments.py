"""The arguments of each command, in a file that imports nothing: --help must not wait for torch."""

import argparse
from collections.abc import Callable
from pathlib import Path

Parser = argparse.ArgumentParser


def _overrides(parser: Parser, metavar: str = "key=value") -> None:
    parser.add_argument("overrides", nargs="*", metavar=metavar, help="as for train.py")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def _prepare(parser: Parser) -> None:
    _overrides(parser, "data=...")
    _json(parser)


def _inspect(parser: Parser) -> None:
    parser.add_argument(
        "target", nargs="+", metavar="STORE or data=...", help="a store's folder, or overrides"
    )
    parser.add_argument("--verify", action="store_true", help="check every shard's sha256")
    _json(parser)


def _tokenizer(parser: Parser) -> None:
    _overrides(parser, "data=...")
    parser.add_argument(
        "--vocab-size", type=int, default=8192, metavar="N",
        help="number of ids: the 256 bytes, the end of text, and the merged tokens (default 8192)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json",
        help="also write the tokenizer to this file, for data.tokenizer=FILE.json",
    )  # fmt: skip
    _json(parser)


def _check(parser: Parser) -> None:
    _overrides(parser)
    _json(parser)


def _verify_resume(parser: Parser) -> None:
    _overrides(parser)
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of the trial run")
    _json(parser)


def _compare(parser: Parser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN or SWEEP")
    parser.add_argument(
        "--out", type=Path, help="the report's folder; the default is the first folder"
    )
    _json(parser)


def _coordinates(parser: Parser) -> None:
    _overrides(parser)
    parser.add_argument(
        "--widths", default="64,128,256,512", help="values of model.n_embd, between commas"
    )
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps of each network")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/coordinates.html"), help="the page's file"
    )
    _json(parser)


def _scaling(parser: Parser) -> None:
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="SWEEP",
        help="runs of several sizes and lengths, such as python train.py +sweep=ladder makes",
    )  # fmt: skip
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--flops", type=float, help="operations to spend on one run")
    budget.add_argument(
        "--hours", type=float,
        help="hours of training to spend on one run, at the speed that these runs logged",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html",
        help="the page's file; the default is scaling.html in the first folder",
    )  # fmt: skip
    _json(parser)


def _counterfactual(parser: Parser) -> None:
    parser.add_argument(
        "sweep", type=Path, help="the folder of a sweep that +sweep=counterfactual made"
    )
    _json(parser)


def _explore(parser: Parser) -> None:
    parser.add_argument(
        "targets", nargs="+", metavar="RUN [RUN2] [data=...]",
        help="run folders or checkpoints; data=... names other text than their own",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="the page's file; the default is in RUN")
    parser.add_argument("--documents", type=int, default=1000, help="documents to show")
    parser.add_argument(
        "--split", choices=["val", "test", "train"], default="val", help="where they come from"
    )
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )
    _json(parser)


def _generate(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--prompt", action="append",
        help="the text to continue; may be given several times. Without one it is read from "
        "standard input, where that is a terminal line by line",
    )  # fmt: skip
    start.add_argument(
        "--from-start", action="store_true", help="no prompt: begin a document of the model's own"
    )
    parser.add_argument(
        "--batch", action="store_true",
        help="write the texts of several prompts together: faster, but rounded otherwise, so that "
        "now and then a token differs from the one that the prompt gets alone",
    )  # fmt: skip
    parser.add_argument(
        "--max-new-tokens", type=int, default=100,
        help="tokens to write. Past the context length the model reads on from the last half of "
        "it, so that a token costs the same however long the text is",
    )  # fmt: skip
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT",
        help="end before this text; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--ignore-end", action="store_true", help="go on where the model ends its document"
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="divides the logits")
    parser.add_argument("--top-k", type=int, help="sample from the k most likely tokens")
    parser.add_argument(
        "--top-p", type=float, help="sample from the most likely tokens that sum to probability p"
    )
    parser.add_argument(
        "--min-p", type=float, help="sample from the tokens at least p times as likely as the best"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0,
        help="above 1: tokens of the prompt and the text so far become less likely",
    )  # fmt: skip
    parser.add_argument("--greedy", action="store_true", help="always take the most likely token")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    _json(parser)
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )


def _evaluate(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    _overrides(parser, "data=...")
    parser.add_argument(
        "--split", nargs="+", choices=["train", "val", "test"], default=["val", "test"],
        metavar="SPLIT", help="train, val or test, or several; the default is val test",
    )  # fmt: skip
    parser.add_argument(
        "--stride", type=int, help="tokens that each window adds; the default is no overlap"
    )
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="float32",
        help="of matrix products; bfloat16 is faster where the processor has it, and less exact",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="write the figures there; the default is a run's own folder"
    )
    _json(parser)


def _memorization(parser: Parser) -> None:
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--which", choices=["best", "last"], default="last",
        help="the checkpoint; the default is last, since the best by held-out loss is the one "
        "that memorised least",
    )  # fmt: skip
    parser.add_argument(
        "--windows", type=int, default=1000, help="passages of the training and of held-out text"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed takes other passages")
    _json(parser)


def _export(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    parser.add_argument("folder", type=Path, help="the new folder")
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )
    parser.add_argument(
        "--format",
        choices=["hf", "onnx", "gguf"],
        default="hf",
        help="hf: what transformers loads (default); onnx: for onnxruntime; gguf: for llama.cpp",
    )
    parser.add_argument("--force", action="store_true", help="replace an older export")
    _json(parser)


def _import(parser: Parser) -> None:
    parser.add_argument("folder", type=Path, help="a GPT-2 with config.json and safetensors")
    parser.add_argument(
        "out", nargs="?", type=Path, help="the new folder; the default is below outputs/imported/"
    )
    _json(parser)


ARGUMENTS: dict[str, Callable[[Parser], None]] = {
    "prepare": _prepare,
    "inspect": _inspect,
    "tokenizer": _tokenizer,
    "check": _check,
    "verify-resume": _verify_resume,
    "evaluate": _evaluate,
    "memorization": _memorization,
    "explore": _explore,
    "generate": _generate,
    "compare": _compare,
    "coordinates": _coordinates,
    "scaling": _scaling,
    "counterfactual": _counterfactual,
    "export": _export,
    "import": _import,
}
