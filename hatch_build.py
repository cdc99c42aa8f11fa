"""Build hook: writes the commit into a distribution and puts conf/ inside the wheel's package."""

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Adds files that the package does not have in a checkout; an editable install needs none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        files = build_data["force_include"]
        if self.target_name == "wheel":
            files[str(Path(self.root, "conf"))] = "minigpt/conf"
        if Path(self.root, "minigpt", "commit.txt").exists():
            return  # this is an unpacked sdist, whose build wrote the file
        commit = runpy.run_path(str(Path(self.root, "minigpt", "version.py")))["code_commit"]()
        if commit is not None:
            self.folder = tempfile.TemporaryDirectory()  # removed when the build is over
            baked = Path(self.folder.name, "commit.txt")
            baked.write_text(f"{commit}\n", "utf-8")
            files[str(baked)] = "minigpt/commit.txt"
