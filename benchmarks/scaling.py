"""Measure how well a scaling law is recovered, and how far it predicts a run 4 times as large.

    python benchmarks/scaling.py                writes docs/results/scaling.md and scaling.svg
    python benchmarks/scaling.py --runs LADDER LARGER --stdout

It trains +sweep=ladder and one network of 4 times the parameters of its largest, in about 20
minutes of two CPU cores. --runs takes finished runs instead.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import REPOSITORY, machine_description
from results import RESULTS, argument_parser, markdown_table, publish

from minigpt.config import share_cores

LADDER = ["+sweep=ladder"]
# 4 times the parameters in matrix products of the ladder's largest network, for its longest time.
LARGER = ["+sweep=ladder", "hydra.mode=RUN", "+ladder=width_96", "model.n_layer=5",
          "model.n_head=4", "model.n_embd=152", "optimizer.lr=8.4e-4",
          "budget.tokens=4e6"]  # fmt: skip

NOISE = 0.003  # of the synthetic losses: a standard deviation of 0.3%
SIZES, TOKENS = (2e5, 4e5, 8e5, 1.6e6), (1e6, 2e6, 4e6)
BAR = 0.02  # nats


def train(folder: Path) -> list[Path]:
    """Trains the ladder and the larger run; returns their folders."""
    places = [folder / "ladder", folder / "larger"]
    words = [
        [*LADDER, f"hydra.sweep.dir={places[0]}"],
        [*LARGER, f"hydra.run.dir={places[1]}"],
    ]
    for overrides in words:
        command = [sys.executable, str(REPOSITORY / "train.py"), *overrides,
                   f"data.root={folder}/tokens"]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
    return places


def synthetic(trials: int, resamples: int) -> dict[str, Any]:
    """How well the law of made-up losses is recovered, without and with noise."""
    from minigpt.statistics.scaling_bootstrap import bootstrap_laws, interval
    from minigpt.statistics.scaling_fit import fit_law
    from minigpt.statistics.scaling_law import Runs, ScalingLaw

    # Hoffmann's, as Besiroglu et al. fit it, and two of other shapes.
    laws = [
        ScalingLaw(1.8172, 482.01, 0.3478, 2085.43, 0.3658),
        ScalingLaw(1.2, 60.0, 0.35, 400.0, 0.4),
        ScalingLaw(0.3, 5.0, 0.1, 3000.0, 0.55),
    ]
    names = ("E", "A", "alpha", "B", "beta")
    n, d = (values.ravel() for values in np.meshgrid(SIZES, TOKENS))
    errors = dict.fromkeys(names, 0.0)
    for law in laws:
        fitted = fit_law(Runs(n, d, law.loss(n, d)))
        for name in names:
            errors[name] = max(errors[name], abs(getattr(fitted, name) / getattr(law, name) - 1))
    law = laws[1]
    larger = np.array(4 * SIZES[-1]), np.array(TOKENS[-1])
    figures = {
        "alpha": lambda law: law.alpha,
        "beta": lambda law: law.beta,
        "size exponent": lambda law: law.size_exponent,
        "loss of a network 4 times as large": lambda law: float(law.loss(*larger)),
    }
    covered, seconds = dict.fromkeys(figures, 0), []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        runs = Runs(n, d, law.loss(n, d) * np.exp(NOISE * rng.standard_normal(len(n))))
        started = time.perf_counter()
        resampled = bootstrap_laws(runs, [1] * len(n), fit_law(runs), resamples, seed=trial)
        seconds.append(time.perf_counter() - started)
        for name, figure in figures.items():
            between = interval(resampled, figure)
            covered[name] += between.low <= figure(law) <= between.high
    return {
        "errors": errors, "covered": covered, "trials": trials, "resamples": resamples,
        "seconds": float(np.median(seconds)),
    }  # fmt: skip


def page(made_up: dict[str, Any], figures: dict[str, Any], rows: list[list[str]]) -> str:
    """The page in Markdown. rows: of the runs."""
    worst = max(made_up["errors"].values())
    held_back = figures["held_back"]
    verdict = "within" if abs(held_back["error"]) <= BAR else "outside"
    between = held_back["predicted_interval"]
    law = figures["law"]
    covered = markdown_table(
        [["figure", "intervals that hold the truth"], ["---", "---:"]]
        + [[name, f"{n} of {made_up['trials']}"] for name, n in made_up["covered"].items()]
    )
    table = markdown_table(
        [["run", "size", "tokens", "measured", "fitted"], ["---", *["---:"] * 4], *rows]
    )
    return f"""# Scaling

Fitted to the {len(rows) - 1} runs of a small ladder, the law predicts a held-out loss of
{held_back["predicted"]:.3f} nats (95% of resamples: {between["low"]:.3f} to {between["high"]:.3f})
for a run of {held_back["times"]:.1f} times the compute of the largest of them. It reached
{held_back["measured"]:.3f}: the prediction is off by {held_back["error"]:+.3f} nats, {verdict} the
bar of {BAR} nats. On made-up losses without noise every parameter is recovered to
{worst:.1g} of its value (bar: 0.01).

`python benchmarks/scaling.py` on {machine_description()}.
[scaling.md](../scaling.md) explains the law.

```sh
{shlex.join(["python", "train.py", *LADDER])}
{shlex.join(["python", "train.py", *LARGER])}
```

![Loss over size at equal compute](scaling.svg)

With all {len(rows)} runs: E = {law["E"]:.3f}, A = {law["A"]:.4g}, alpha = {law["alpha"]:.3f},
B = {law["B"]:.4g}, beta = {law["beta"]:.3f}. The best size grows as compute to the power of
{law["size_exponent"]:.2f}
({figures["intervals"]["size_exponent"]["low"]:.2f} to
{figures["intervals"]["size_exponent"]["high"]:.2f}). The law misses its own runs by
{figures["deviation"]:.4f} nats. One seed; what a seed changes is not in the intervals.

{table}

## Made-up losses

{made_up["trials"]} ladders of {len(SIZES)} sizes and {len(TOKENS)} lengths whose losses follow a
known law, with a standard deviation of {NOISE:.1%} of the loss. The intervals are to hold the truth
95 times in 100. A fit with {made_up["resamples"]} resamples takes {made_up["seconds"]:.1f} s.

{covered}
"""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, help="finished runs; nothing is trained")
    parser.add_argument("--trials", type=int, default=100, help="ladders of made-up losses")
    parser.add_argument("--resamples", type=int, default=500, help="of each of them")
    args = parser.parse_args()
    share_cores()  # before torch is imported
    with tempfile.TemporaryDirectory() as folder:
        places = args.runs or train(Path(folder))
        from minigpt.reports.scaling_plots import iso_flop_plot
        from minigpt.reports.scaling_runs import read_ladder
        from minigpt.reports.scaling_study import study

        scaling = study(read_ladder(places))
    if scaling.held_back is None:
        sys.exit("without the largest run there are too few to fit")
    rows = [
        [run.name, f"{run.size:,}", f"{run.tokens:,}", f"{run.loss:.4f}",
         f"{scaling.fitted(run):.4f}"]
        for run in scaling.ladder.runs
    ]  # fmt: skip
    figures = scaling.to_dict()
    publish("scaling", page(synthetic(args.trials, args.resamples), figures, rows), args.stdout)
    if not args.stdout:
        (RESULTS / "scaling.svg").write_text(iso_flop_plot(scaling, ink="#444444"), "utf-8")


if __name__ == "__main__":
    main()
