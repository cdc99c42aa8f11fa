"""`minigpt compare`: says which of several runs is better, and writes a report."""

import argparse
from pathlib import Path

from minigpt.reports.comparison import compare, print_comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN or SWEEP")
    parser.add_argument(
        "--out", type=Path, help="the report's folder; the default is the first folder"
    )


def run(args: argparse.Namespace) -> None:
    out = args.out or args.folders[0]
    print_comparison(compare(args.folders, out), out)
