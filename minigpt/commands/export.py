"""`minigpt export`: writes a trained model in another project's format."""

import argparse
import json
from dataclasses import asdict

from minigpt.command_lines import display_path
from minigpt.interop.export import export


def run(args: argparse.Namespace) -> None:
    exported = export(args.checkpoint, args.folder, args.which, args.format, args.force)
    if args.json:
        print(json.dumps(asdict(exported), indent=2))
        return
    print(f"{display_path(args.folder.absolute())}, from {exported.checkpoint}:")
    for name, size in exported.files.items():
        print(f"  {name:24} {size:>13,} bytes")
    if "max_difference" in exported.figures:
        print(f"logits of onnxruntime differ by {exported.figures['max_difference']:.1e} at most")
    if exported.figures.get("tokenizer_files") is False:
        print("no tokenizer files: the vocabulary is narrower than the 256 bytes")
