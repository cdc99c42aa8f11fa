"""`minigpt memorization`: says whether a run learned or memorised, and writes a page."""

import argparse
import json

from minigpt.atomic_file import write_file
from minigpt.evaluation.memorization import memorization
from minigpt.reports.memorization_page import memorization_html, print_memorization
from minigpt.reports.memorization_sections import memorization_sections
from minigpt.runs.run_folder import RunFolder


def run(args: argparse.Namespace) -> None:
    folder = RunFolder(args.run)
    found = memorization(folder, args.which, args.windows, args.seed)
    content = json.dumps(found.to_dict(), indent=1, ensure_ascii=False)
    page = memorization_html(folder, found, memorization_sections(found))
    write_file(folder.memorization, content + "\n")
    write_file(folder.memorization_page, page)
    if args.json:
        print(content)
    else:
        print_memorization(folder, found)
