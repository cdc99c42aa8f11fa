"""Measure what each part of the modern recipe gains, and the tokens and time the whole saves.

    python benchmarks/recipe.py parts CORPUS       each part alone, and the recipe without each part
    python benchmarks/recipe.py speed CORPUS       tokens a second of each side, in turns
    python benchmarks/recipe.py whole CORPUS       the recipe against the baseline at full size
    python benchmarks/recipe.py rivals CORPUS      the recipe against others' settings at equal time
    python benchmarks/recipe.py                    writes the page again, trains nothing
    python benchmarks/recipe.py parts CORPUS --tokens 2e4 --seeds 1 --stdout

CORPUS is a file of text or JSON lines. A study is a number of runs of train.py, --jobs of them at a
time. recipe.json keeps each run once it has ended, so a stopped study goes on where it was; name
--seeds or --only to do a part of it. The time of a long run is its tokens over the speed that the
study of speed measured on an idle machine: a loss does not change with other work on the machine,
nor much with the device, a time does. In that study a seed is a round.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import REPOSITORY, machine_description, run_script
from recipe_page import page, speed_of
from recipe_rivals import RIVALS
from results import RESULTS, argument_parser, publish, write_json

NAME = "recipe"
# One pass over the text, as the baseline's first epoch; nothing that costs time beside training.
COMMON = ["logger=none", "~callbacks.samples", "~callbacks.best", "trainer.limit_test_batches=0"]


@dataclass(frozen=True)
class Part:
    """One part of the recipe, as typed: added to the baseline, and taken out of the recipe."""

    name: str
    added: list[str]
    removed: list[str] = field(default_factory=list)  # empty: it is not in the recipe


PARTS = [
    Part("no dropout", ["model.dropout=0"], ["model.dropout=0.1"]),
    Part("linear decay to zero", ["scheduler=linear_to_zero"], ["scheduler=none"]),
    Part("batches of 8", ["data.batch_size=8"], ["data.batch_size=32"]),
    Part("Muon", ["optimizer=muon"], ["optimizer=adamw", "optimizer.lr=2e-3"]),
    Part("rotary positions", ["model.positions=rotary"], ["model.positions=learned"]),
    Part("RMS norms", ["model.norm=rms"], ["model.norm=layer"]),
    Part("norms of queries and keys", ["model.qk_norm=true"], ["model.qk_norm=false"]),
    Part("squared ReLU", ["model.activation=relu2"], ["model.activation=gelu_tanh"]),
    Part("SwiGLU", ["model.activation=swiglu"]),
    Part("zero initialisation", ["model.zero_init=true"], ["model.zero_init=false"]),
    Part("soft cap of logits", ["model.logit_softcap=15"]),
    Part(
        "embedding shortcuts",
        ["model.embedding_shortcuts=true"],
        ["model.embedding_shortcuts=false"],
    ),
    Part("bigram embeddings", ["model.bigram_embeddings=8192"]),
    Part("weight averaging", ["callbacks=weight_average", "callbacks.weight_average.decay=0.99"]),
]


def small(args: Any) -> dict[str, list[str]]:
    """Name of a variant -> what is typed, with a vocabulary of 8,192."""
    text = ["data.tokenizer=bpe-8192", "model.vocab_size=null", f"budget.tokens={args.tokens}"]
    baseline, modern = (["experiment=baseline", *text], ["experiment=modern", *text])
    variants = {"baseline": baseline, "modern": modern}
    for part in PARTS:
        variants[f"baseline + {part.name}"] = [*baseline, *part.added]
        if part.removed:
            variants[f"modern - {part.name}"] = [*modern, *part.removed]
        else:
            variants[f"modern + {part.name}"] = [*modern, *part.added]
    return variants


def whole(args: Any) -> dict[str, list[str]]:
    """The baseline's first epoch, and the recipe on a part of the same text."""
    variants = {"baseline": ["experiment=baseline", f"budget.tokens={args.tokens}"]}
    for experiment in ("modern", "modern_bpe"):
        for part in (1, 2, 4, 8):
            typed = [f"experiment={experiment}", f"budget.tokens={args.tokens / part:.0f}"]
            variants[f"{experiment}, 1/{part} of the tokens"] = typed
    return variants


def equal_time(args: Any) -> dict[str, list[str]]:
    """The recipe whose time the rivals get; they are not typed."""
    ours = ["experiment=modern_bpe", f"budget.tokens={args.tokens}"]
    return {OURS: ours, **{name: [] for name in RIVALS}}


def short(args: Any) -> dict[str, list[str]]:
    """Every side whose speed is compared."""
    budget = f"budget.tokens={args.tokens}"
    ours = {name: [f"experiment={name}", budget] for name in ("baseline", "modern", OURS)}
    return {**ours, **{name: [] for name in RIVALS}}


OURS = "modern_bpe"
STUDIES = {
    "parts": (small, 4e5),
    "speed": (short, 1.6e5),
    "whole": (whole, 3.75e6),
    "rivals": (equal_time, 3.75e6),
}


def train(typed: list[str], seed: int, corpus: Path, folder: Path) -> dict[str, Any]:
    """The figures of one run."""
    from minigpt.runs.run_folder import RunFolder

    run = RunFolder(folder / "run")
    text = ["data=files", f"data.files=['{corpus}']", f"data.root='{folder.parent}/tokens'"]
    words = [*typed, *text, f"seed={seed}", *COMMON]
    subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *words, f"hydra.run.dir={run.path}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    summary = run.read_summary()
    evaluation = json.loads(run.evaluation.read_text("utf-8"))["splits"]["val"]
    assert summary.final
    assert summary.tokens_per_second
    return {
        "parameters": summary.parameters,
        "tokens": summary.tokens_seen,
        "seconds": summary.tokens_seen / summary.tokens_per_second,
        "loss": summary.final.val_loss,
        "bits_per_byte": evaluation["bits_per_byte"],
    }


def train_rival(name: str, tokens: float, seed: int, corpus: Path, folder: str) -> dict[str, Any]:
    """The figures of a rival after so many tokens."""
    script = str(Path(__file__).with_name("recipe_rivals.py"))
    root = f"{Path(folder).parent}/tokens"
    return run_script(script, name, str(tokens), str(seed), str(corpus), root, folder=folder)


def rival_tokens(args: Any, name: str, results: dict[str, Any]) -> float:
    """As many tokens as a rival trains on in the time of the recipe's run, or of a short run."""
    if args.study == "speed":
        return float(args.tokens)
    speed = results.get("speed", {"runs": {}})["runs"]
    if not (speed.get(OURS) and speed.get(name)):
        raise SystemExit("run the study of speed first")
    return float(args.tokens * speed_of(speed, name) / speed_of(speed, OURS))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("study", nargs="?", choices=[*STUDIES])
    parser.add_argument("corpus", nargs="?", type=Path)
    parser.add_argument("--tokens", type=float, help="tokens of a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", help="variants whose names hold one of these words")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, for a GPU")
    args = parser.parse_args()
    if args.study == "speed" and args.jobs > 1:
        parser.error("speeds are measured one run at a time")
    path = RESULTS / f"{NAME}.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if args.study is not None:
        if args.corpus is None:
            parser.error("name a CORPUS")
        run_study(args, results)
    publish(NAME, page(results), args.stdout)


def run_study(args: Any, results: dict[str, Any]) -> None:
    """Train what is missing of a study, seed by seed, and keep each run's figures."""
    variants_of, tokens = STUDIES[args.study]
    args.tokens = args.tokens or tokens
    study = results.setdefault(args.study, {"tokens": args.tokens, "machines": [], "runs": {}})
    if machine_description() not in study["machines"]:
        study["machines"].append(machine_description())
    missing = [
        (name, typed, seed)
        for seed in args.seeds
        for name, typed in variants_of(args).items()
        if (not args.only or any(word in name for word in args.only))
        and str(seed) not in study["runs"].setdefault(name, {})
    ]
    with ThreadPoolExecutor(args.jobs) as pool:
        started = {
            pool.submit(run_variant, args, results, name, typed, seed): (name, seed)
            for name, typed, seed in missing
        }
        for run in as_completed(started):
            name, seed = started[run]
            runs = study["runs"][name]
            runs[str(seed)] = run.result()
            losses = [run["loss"] for run in runs.values()]
            print(f"{name}: seed {seed} {losses[-1]:.4f}, mean {statistics.mean(losses):.4f}",
                  file=sys.stderr, flush=True)  # fmt: skip
            if not args.stdout:
                write_json(NAME, results)


def run_variant(
    args: Any, results: dict[str, Any], name: str, typed: list[str], seed: int
) -> dict[str, Any]:
    """The figures of one run, in a folder that is removed."""
    corpus = args.corpus.resolve()
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        if name not in RIVALS:
            return train(typed, seed, corpus, Path(folder))
        return train_rival(name, rival_tokens(args, name, results), seed, corpus, folder)


def scratch() -> Path:
    """A folder that outlives a run, so that all runs share the token stores beside theirs."""
    folder = Path(tempfile.gettempdir()) / "minigpt-recipe"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
