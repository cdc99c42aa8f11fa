"""`minigpt explore`: a page that shows what one or two runs make of each token."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigpt.atomic_file import write_file
from minigpt.command_lines import display_path
from minigpt.errors import UserError
from minigpt.evaluation.exploration import explore
from minigpt.evaluation.exploration_figures import exploration_figures
from minigpt.evaluation.other_text import other_store
from minigpt.evaluation.shared_text import check_text, shared_store
from minigpt.evaluation.trained_model import TrainedModel, load_model
from minigpt.reports.explorer_page import explorer_page
from minigpt.runs.run_folder import run_of
from minigpt.tokens.store import TokenStore


def run(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    paths, overrides = _paths_and_overrides(args.targets)
    models = [load_model(path, args.which) for path in paths]
    out = _page_path(args.out, paths[0])
    store = _other_text(models, overrides) if overrides else _text_of(paths, models)
    names = [str(display_path(path.resolve())) for path in paths]
    page = explorer_page(explore(models, store, args.split, args.documents), names)
    write_file(out, page.html)
    figures = {
        "page": str(out),
        "bytes": len(page.html),
        "seconds": time.perf_counter() - started,
        "runs": names,
        "cut": page.shown.cut,
        "splits": exploration_figures(page.shown),
    }
    print_exploration(figures, args.json)


def _paths_and_overrides(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The runs and the text that were typed; a run's folder may have an equals sign."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    paths = [Path(word) for word in words if word not in overrides]
    if not 1 <= len(paths) <= 2:
        raise UserError(f"explore shows one run or two, got {len(paths)}; name RUN or RUN RUN2")
    return paths, overrides


def _page_path(out: Path | None, path: Path) -> Path:
    """Where the page goes; checked before the work begins."""
    run = run_of(path)
    if out is None:
        if run is None:
            raise UserError(f"{path} is not in a run folder; say where the page goes: --out FILE")
        return run.explorer
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it, such as explore.html")
    return out


def _text_of(paths: Sequence[Path], models: Sequence[TrainedModel]) -> TokenStore:
    runs = []
    for path in paths:
        run = run_of(path)
        if run is None:
            raise UserError(
                f"{path} is not in a run folder, so its text is not known; name it with data=..."
            )
        runs.append(run)
    return shared_store(runs, models)


def _other_text(models: Sequence[TrainedModel], overrides: Sequence[str]) -> TokenStore:
    """The text that `data=...` names, in ids that all models read."""
    store = other_store(models[0], overrides)
    check_text(models, store)
    return store


def print_exploration(figures: dict[str, Any], as_json: bool) -> None:
    """Print what the page shows, as sentences or as a JSON object."""
    if as_json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    for split in figures["splits"]:
        print(
            f"{split['split']}: {split['documents']:,} of {split['of_documents']:,} documents, "
            f"{split['tokens']:,} tokens"
        )
        for name, run in zip(figures["runs"], split["runs"], strict=True):
            print(f"  {run['loss']:.4f} nats, {run['known_share']:.1%} known by heart  {name}")
    print(
        f"page  {display_path(Path(figures['page']).resolve())}  "
        f"({figures['bytes'] / 1e6:.2f} MB, {figures['seconds']:.1f} s)"
    )
