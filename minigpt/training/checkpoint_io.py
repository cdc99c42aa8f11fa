"""How Lightning writes a checkpoint: whole on disk, or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from minigpt.atomic_file import replace_file
from minigpt.runs.checkpoints import check_whole, read_checkpoint, remove_old_shards
from minigpt.runs.mirror import RunMirror


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a sibling file, checks and syncs it, then renames it over the old checkpoint.

    Lightning stages in the temporary folder instead, which across file systems is a plain copy
    that a crash can leave half-done. Raises UserError where the disk refuses, or what it gives back
    is not what was written; the old one stays.
    """

    def __init__(self, mirror: RunMirror | None = None) -> None:
        """mirror: gets a copy of the run folder after each checkpoint."""
        super().__init__()
        self.mirror = mirror

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replace_file(Path(path)) as file:
            torch.save(checkpoint, file)
            file.flush()
            check_whole(Path(file.name))
        remove_old_shards(Path(path), checkpoint)
        if self.mirror is not None:
            self.mirror.update()

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """The content on the CPU, also of a checkpoint of divided weights; nothing is executed."""
        return read_checkpoint(Path(path))
