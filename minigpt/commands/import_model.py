"""`minigpt import`: makes a checkpoint of a folder that holds a GPT-2."""

import argparse
import json
import shlex
from dataclasses import asdict

from minigpt.interop.import_folder import import_folder


def run(args: argparse.Namespace) -> None:
    imported = import_folder(args.folder, args.out)
    if args.json:
        print(json.dumps(asdict(imported), indent=2))
        return
    print(
        f"{imported.checkpoint}: {imported.parameters:,} parameters, a context of "
        f"{imported.block_size} tokens, tokenizer {imported.tokenizer}\n"
        f"let it write with: minigpt generate {shlex.quote(imported.folder)} --prompt TEXT"
    )
