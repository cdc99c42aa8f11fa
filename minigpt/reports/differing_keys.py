"""The keys of the configuration in which runs differ."""

from collections.abc import Sequence

from minigpt.reports.compared_runs import ComparedRun

# Keys whose default is the value of another key.
FOLLOWING = {"model.embd_dropout": "model.dropout", "data.stride": "model.block_size"}


def differing_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """The keys of the configuration that are not the same in all runs, most important first.

    A key that defaults to another key's value is left out where both change together.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: [run.settings.get(key) for run in runs] for key in keys}
    changed = [key for key, column in values.items() if any(v != column[0] for v in column)]
    kept = [key for key in changed if values[key] != values.get(FOLLOWING.get(key, ""))]
    return sorted(kept, key=_importance)


def _importance(key: str) -> tuple[int, str]:
    first = ["optimizer.lr", "model.n_embd", "model.n_layer", "model.n_head", "data.batch_size"]
    return (first.index(key) if key in first else len(first) + (key == "seed"), key)
