"""The page of recipe.json: the gain of each part, and of the whole."""

import math
import statistics
from typing import Any

from results import markdown_table, spread

Runs = dict[str, dict[str, Any]]  # seed -> figures


def speed_of(speed: dict[str, Runs], name: str) -> float:
    """Tokens a second of a side: the median over the rounds of the study of speed."""
    experiment = name.split(",")[0]
    return statistics.median(run["tokens"] / run["seconds"] for run in speed[experiment].values())


def page(results: dict[str, Any]) -> str:
    sections = []
    speed = results.get("speed", {"runs": {}})["runs"]
    study = results.get("whole")
    if speed and study and study["runs"].get("baseline"):  # what the others are compared with
        sections.append(_whole(study, speed))
    if speed and (study := results.get("rivals")):
        sections.append(_rivals(study, speed))
    if speed:
        sections.append(_speed(results["speed"]))
    if study := results.get("parts"):
        sections.append(_parts(study))
    return "# A recipe for more from the same hour\n\n" + "\n".join(sections)


def _whole(study: dict[str, Any], speed: dict[str, Runs]) -> str:
    runs: dict[str, Runs] = study["runs"]
    baseline = runs["baseline"]
    rows = [
        ["run", "parameters", "tokens", "seconds", "loss", "bits per byte", "tokens, share of the "
         "baseline's", "time, share of the baseline's", "seeds"],
        ["---"] * 9,
    ]  # fmt: skip
    for name, of_seeds in runs.items():
        if not of_seeds:
            continue
        some = next(iter(of_seeds.values()))
        rows.append(
            [
                name,
                f"{some['parameters']:,}",
                f"{some['tokens']:,}",
                f"{_seconds(of_seeds, speed, name):,.0f}",
                _with_error(of_seeds, "loss"),
                _with_error(of_seeds, "bits_per_byte"),
                _share(of_seeds, baseline, "tokens"),
                f"{_seconds(of_seeds, speed, name) / _seconds(baseline, speed, 'baseline'):.2f}",
                str(len(of_seeds)),
            ]
        )
    return f"""{_conclusion(runs, speed)}

`python benchmarks/recipe.py whole CORPUS` on {_machines(study)}. Each run ends its schedule at its
last token. Loss in nats a token depends on the tokenizer, bits per byte do not. Errors are standard
errors over the seeds. Seconds are of training, without validation: the tokens over the speed
[measured below](#speed).

{markdown_table(rows)}
"""


def _conclusion(runs: dict[str, Runs], speed: dict[str, Runs]) -> str:
    """Which of the recipe's runs reach the baseline's figure, and at what share of its cost."""
    baseline, sentences = runs["baseline"], []
    for experiment, figure, words in (
        ("modern", "loss", "the baseline's held-out loss"),
        ("modern_bpe", "bits_per_byte", "the baseline's bits per byte"),
    ):
        reached = [
            (name, of_seeds)
            for name, of_seeds in runs.items()
            if name.split(",")[0] == experiment
            and of_seeds
            and _mean(of_seeds, figure) <= _mean(baseline, figure)
        ]
        if not reached:
            sentences.append(f"`experiment={experiment}` does not reach {words}.")
            continue
        name, least = min(reached, key=lambda run: _mean(run[1], "tokens"))
        time = _seconds(least, speed, name) / _seconds(baseline, speed, "baseline")
        sentences.append(
            f"`experiment={experiment}` reaches {words} of one epoch in "
            f"{_share(least, baseline, 'tokens')} of its tokens and "
            f"{time:.2f} of its time."
        )
    return " ".join(sentences)


def _rivals(study: dict[str, Any], speed: dict[str, Runs]) -> str:
    runs: dict[str, Runs] = {name: of_seeds for name, of_seeds in study["runs"].items() if of_seeds}
    ours = next(iter(runs))
    rows = [
        ["run", "parameters", "tokens", "seconds", "bits per byte", f"{ours} lower by", "seeds"],
        ["---"] * 7,
    ]
    for name, of_seeds in runs.items():
        less = 1 - _mean(runs[ours], "bits_per_byte") / _mean(of_seeds, "bits_per_byte")
        rows.append(
            [
                name,
                f"{next(iter(of_seeds.values()))['parameters']:,}",
                f"{_mean(of_seeds, 'tokens'):,.0f}",
                f"{_seconds(of_seeds, speed, name):,.0f}",
                _with_error(of_seeds, "bits_per_byte"),
                "" if name == ours else f"{less:.0%}",
                str(len(of_seeds)),
            ]
        )
    return f"""## Against what one would otherwise use

`python benchmarks/recipe.py rivals CORPUS` on {_machines(study)}. All sides have report B's shape
and train on the same text for the same time: a rival gets the tokens that it trains on in the time
of our run, at the speeds [measured below](#speed). The rivals have GPT-2's tokenizer,
tied weights, AdamW, and their best precision, compiled without its time counting
([recipe_rivals.py](../../benchmarks/recipe_rivals.py) has their settings). The same evaluation
scores all of them.

{markdown_table(rows)}
"""


def _speed(study: dict[str, Any]) -> str:
    runs: dict[str, Runs] = {name: rounds for name, rounds in study["runs"].items() if rounds}
    rows = [["run", "tokens a second", "rounds"], ["---"] * 3]
    for name, rounds in runs.items():
        speeds = [run["tokens"] / run["seconds"] for run in rounds.values()]
        rows.append([name, spread(speeds, ",.0f"), str(len(rounds))])
    return f"""## Speed

`python benchmarks/recipe.py speed CORPUS` on {_machines(study)}, the sides in turns; median (least
to most).

{markdown_table(rows)}
"""


def _parts(study: dict[str, Any]) -> str:
    runs: dict[str, Runs] = study["runs"]
    rows = [
        ["part", "added to the baseline", "taken out of the recipe", "added to the recipe",
         "seeds"],
        ["---"] * 5,
    ]  # fmt: skip
    for name in runs:
        if not name.startswith("baseline + ") or not runs[name]:
            continue
        part = name.removeprefix("baseline + ")
        removed, added = runs.get(f"modern - {part}", {}), runs.get(f"modern + {part}", {})
        rows.append(
            [
                part,
                _difference(runs[name], runs["baseline"]),
                _difference(removed, runs["modern"]) if removed else "",
                _difference(added, runs["modern"]) if added else "",
                str(len(runs[name])),
            ]
        )
    return f"""## Each part

`python benchmarks/recipe.py parts CORPUS` on {_machines(study)}: {study["tokens"]:,.0f} tokens of
own byte-pair encodings of 8,192, report B's baseline. Differences of the held-out loss in nats a
token, paired by seed, with standard errors; below zero is better. A part that is in the recipe
should cost something when it is taken out, and one that is not should gain nothing when it is
added. {_exceptions(runs)}

{markdown_table(rows)}
"""


def _exceptions(runs: dict[str, Runs]) -> str:
    """The parts for which that does not hold, by more than two standard errors."""
    gains: dict[str, list[str]] = {"-": [], "+": []}
    for name, of_seeds in runs.items():
        if not name.startswith("modern ") or not of_seeds:
            continue
        sign, part = name.removeprefix("modern ").split(" ", 1)
        seeds = of_seeds.keys() & runs["modern"].keys()
        losses = [of_seeds[seed]["loss"] - runs["modern"][seed]["loss"] for seed in seeds]
        if len(losses) < 2:
            continue
        error = statistics.stdev(losses) / math.sqrt(len(losses))
        if statistics.mean(losses) < -2 * error:
            gains[sign].append(part)
    sentences = [
        f"At this length the recipe is better {words} {' and '.join(gains[sign])}."
        for sign, words in (("-", "without"), ("+", "with"))
        if gains[sign]
    ]
    return " ".join([*sentences, "It was not measured at full length."]) if sentences else ""


def _machines(study: dict[str, Any]) -> str:
    return " and ".join(study["machines"])


def _seconds(runs: Runs, speed: dict[str, Runs], name: str) -> float:
    """Of training on as many tokens as these runs did."""
    return _mean(runs, "tokens") / speed_of(speed, name)


def _mean(runs: Runs, figure: str) -> float:
    return statistics.mean(run[figure] for run in runs.values())


def _with_error(runs: Runs, figure: str) -> str:
    return _text([run[figure] for run in runs.values()], "")


def _difference(runs: Runs, others: Runs) -> str:
    """Of the losses of the same seeds."""
    seeds = runs.keys() & others.keys()
    return _text([runs[seed]["loss"] - others[seed]["loss"] for seed in sorted(seeds)], "+")


def _text(values: list[float], sign: str) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):{sign}.4f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}"


def _share(runs: Runs, baseline: Runs, figure: str) -> str:
    return f"{_mean(runs, figure) / _mean(baseline, figure):.2f}"
