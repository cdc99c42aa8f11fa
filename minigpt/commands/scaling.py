"""`minigpt scaling`: fits a scaling law to runs, and advises size and tokens for a budget."""

import argparse
import json
import math
from pathlib import Path

from minigpt.atomic_file import write_file
from minigpt.command_lines import display_path
from minigpt.errors import UserError
from minigpt.reports.scaling_advice import Budget
from minigpt.reports.scaling_page import print_scaling, scaling_html
from minigpt.reports.scaling_runs import read_ladder
from minigpt.reports.scaling_study import study

PAGE = "scaling.html"


def run(args: argparse.Namespace) -> None:
    budget = _budget(args)
    out: Path = args.out or args.folders[0] / PAGE
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file: --out {out / PAGE}")
    scaling = study(read_ladder(args.folders), budget)
    title = ", ".join(str(display_path(folder.resolve())) for folder in args.folders)
    write_file(out, scaling_html(scaling, title))
    if args.json:
        print(json.dumps({**scaling.to_dict(), "page": str(out)}, indent=2, ensure_ascii=False))
    else:
        print_scaling(scaling, out)


def _budget(args: argparse.Namespace) -> Budget | None:
    """What --flops or --hours says. Raises UserError for what is not above 0."""
    for unit in ("flops", "hours"):
        amount = getattr(args, unit)
        if amount is None:
            continue
        if not 0 < amount < math.inf:
            raise UserError(f"--{unit} must be a finite number above 0, got {amount:g}")
        return Budget(amount, unit)
    return None
