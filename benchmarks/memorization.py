"""Measure what finished runs memorised, and how long the measurement takes.

    python benchmarks/memorization.py RUN ...      writes docs/results/memorization.md
    python benchmarks/memorization.py RUN --windows 50 --stdout
    python benchmarks/memorization.py              writes the page again, measures nothing

Name a run that memorises first (`python train.py`) and then one that learns, such as
`python train.py model=base data=stdlib callbacks=early_stopping scheduler=none`.
"""

import json
import time
from pathlib import Path
from typing import Any

from canaries import section as canaries_section
from machine import machine_description
from results import RESULTS, argument_parser, markdown_table, publish

from minigpt.config import share_cores

WHOLE_COMMAND = 120.0  # seconds, at most
WORDS = {
    "learned": "learned",
    "memorised": "memorised and did not learn",
    "both": "learned and memorised",
    "neither": "did neither",
    "unknown": "shows too little to tell",
}


def measure(folder: Path, windows: int) -> dict[str, Any]:
    """A run's figures, those of its summary, and the seconds of the whole report."""
    from minigpt.evaluation.memorization import memorization
    from minigpt.reports.memorization_page import memorization_html
    from minigpt.reports.memorization_sections import memorization_sections
    from minigpt.runs.run_folder import RunFolder

    run = RunFolder(folder)
    started = time.perf_counter()
    found = memorization(run, windows=windows)
    memorization_html(run, found, memorization_sections(found))
    seconds = time.perf_counter() - started
    summary = run.read_summary()
    assert summary.data
    return {
        "name": str(run.read_config()["name"]),
        "command": summary.command,
        "parameters": summary.parameters,
        "tokens": summary.data.tokens["train"],
        "passes": summary.tokens_seen / summary.data.tokens["train"],
        "seconds": seconds,
        "windows": windows,
        "found": found.to_dict(),
    }


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def conclusions(results: list[dict[str, Any]]) -> str:
    """A sentence for each of the first two runs, and one about the controls."""
    sentences = []
    for result in results[:2]:
        found = result["found"]
        held_out = percent(found["extracted_held_out"]) or "no passage"
        sentences.append(
            f"**{result['name']}** {WORDS[found['verdict']]}: given {found['prefix']} tokens, it "
            f"brings back the next {found['continuation']} word for word for "
            f"{percent(found['extracted_train'])} of the passages of its own text "
            f"({percent(found['extracted_train_not_repeated']) or 'none'} of those that are not "
            f"repeated in it) and for {held_out} of held-out text."
        )
    controls = [control(loss) for r in results if (loss := by_loss(r))]
    sentences.append(
        "What comes back of held-out text, and the AUC between two halves of it "
        f"({', '.join(controls) or 'not measured'}), say how much of that is chance or formula: "
        "only what goes beyond them is memory."
    )
    return " ".join(sentences)


def control(loss: dict[str, Any]) -> str:
    if loss["control"] is None:
        return "only one held-out document"
    return with_error(loss["control"], loss["control_error"])


def with_error(value: float, error: float | None) -> str:
    return f"{value:.3f} ± {error:.3f}" if error is not None else f"{value:.3f} (few documents)"


def by_loss(result: dict[str, Any]) -> dict[str, Any] | None:
    """The membership figures by loss."""
    membership = result["found"]["membership"]
    return dict(membership["measures"][0]) if membership else None


def table(results: list[dict[str, Any]]) -> str:
    lines = [["", *(result["name"] for result in results)], ["---", *["---"] * len(results)]]
    rows: dict[str, list[str]] = {}

    def add(name: str, value: str) -> None:
        rows.setdefault(name, []).append(value)

    for result in results:
        found, loss = result["found"], by_loss(result)
        add("parameters", f"{result['parameters']:,}")
        add("tokens of training text", f"{result['tokens']:,}")
        add("passes over it", f"{result['passes']:,.1f}")
        add("verdict", f"**{found['verdict']}**")
        add("passages (own, held-out)", _passages(found))
        for i, recall in enumerate(found["train"]["recalls"]):
            held_out = found["held_out"]["recalls"][i]["extracted"] if found["held_out"] else None
            add(
                f"back after {recall['prefix']} tokens: own, held-out",
                f"{percent(recall['extracted'])}, {percent(held_out)}",
            )
        add("not repeated in the text", percent(found["extracted_train_not_repeated"]))
        last = found["train"]["recalls"][-1]
        add("drawn in 1, 10, 100, 1,000 draws", ", ".join(map(percent, last["at_least_once"])))
        spans = found["train_spans"]
        add("longest span, tokens", f"{spans[0]['tokens']:,}" if spans else "")
        add("membership AUC by loss", with_error(loss["auc"], loss["error"]) if loss else "")
        add(
            "AUC between two halves of the held-out documents",
            control(loss) if loss else "",
        )
        add("found at 1% false positives", percent(loss["true_positives"]) if loss else "")
        losses = found["losses"]
        add(
            "loss: own, held-out, frequencies alone",
            ", ".join(f"{losses[k]:.2f}" for k in ("train", "held_out", "unigram"))
            if losses
            else "",
        )
        bits = found["capacity"]
        add(
            "bits known of the text, of its bits, of capacity",
            f"{bits['known_bits']:,.0f}, {bits['known_bits'] / bits['text_bits']:.0%}, "
            f"{bits['known_bits'] / bits['capacity_bits']:.2%}"
            if bits
            else "",
        )
        add("seconds of the whole report", f"{result['seconds']:.1f}")
    lines += [[name, *values] for name, values in rows.items() if len(values) == len(results)]
    return markdown_table(lines)


def _passages(found: dict[str, Any]) -> str:
    held_out = found["held_out"]
    return f"{found['train']['passages']:,}, {held_out['passages'] if held_out else 0:,}"


def page(results: list[dict[str, Any]], machine: str) -> str:
    """The page, with the section of canaries.json where benchmarks/canaries.py has written it."""
    stored = RESULTS / "canaries.json"
    canaries = canaries_section(json.loads(stored.read_text("utf-8"))) if stored.exists() else ""
    commands = "\n".join(f"{r['command']}  # {r['name']}" for r in results)
    return f"""# Memory or learning

{conclusions(results)}

`python benchmarks/memorization.py RUN ...` on {machine}. The runs:

```sh
{commands}
```

{table(results)}

Each report may take {WHOLE_COMMAND:.0f} seconds; it is `minigpt memorization RUN` with
{results[0]["windows"]:,} passages of a side. [memorization.md](../memorization.md) explains the
rows. The raw figures are in [memorization.json](memorization.json).

{canaries}"""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--windows", type=int, default=1000, help="passages of a side")
    args = parser.parse_args()
    share_cores()  # before torch is imported
    if args.runs:
        runs = [measure(folder, args.windows) for folder in args.runs]
        results: dict[str, Any] = {"machine": machine_description(), "runs": runs}
    else:
        results = json.loads((RESULTS / "memorization.json").read_text("utf-8"))
    publish("memorization", page(results["runs"], results["machine"]), args.stdout, results)


if __name__ == "__main__":
    main()
