"""`minigpt compare`: says which of several runs is better, and writes a report."""

import argparse
import json
import sys

from minigpt.command_lines import display_path
from minigpt.reports.comparison import compare, comparison_figures, print_comparison
from minigpt.reproductions.all_reports import REPRODUCTIONS
from minigpt.runs.run_folder import find_foreign_folders


def run(args: argparse.Namespace) -> None:
    out = args.out or args.folders[0]
    runs = compare(args.folders, out, REPRODUCTIONS)
    if args.json:
        print(json.dumps(comparison_figures(runs, out), indent=2, ensure_ascii=False))
    else:
        print_comparison(runs, out)
    foreign = [folder for place in args.folders for folder in find_foreign_folders(place)]
    if foreign:
        print(
            f"left out: {len(foreign)} folders whose configuration is not a run's, such as "
            f"{display_path(foreign[0].resolve())}",
            file=sys.stderr,
        )
