"""`minigpt compare`: says which of several runs is better, and writes a report."""

import argparse
import sys

from minigpt.command_lines import display_path
from minigpt.reports.comparison import compare, print_comparison
from minigpt.reproductions.all_reports import REPRODUCTIONS
from minigpt.runs.run_folder import find_foreign_folders


def run(args: argparse.Namespace) -> None:
    out = args.out or args.folders[0]
    print_comparison(compare(args.folders, out, REPRODUCTIONS), out)
    foreign = [folder for place in args.folders for folder in find_foreign_folders(place)]
    if foreign:
        print(
            f"left out: {len(foreign)} folders whose configuration is not a run's, such as "
            f"{display_path(foreign[0].resolve())}",
            file=sys.stderr,
        )
