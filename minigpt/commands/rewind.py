"""Notes in a run's summary that it goes back to its last checkpoint: on_nan=rewind."""

import sys
from typing import TYPE_CHECKING

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from minigpt.runs.summary import Rewind


def earlier_rewinds(run: RunFolder) -> "list[Rewind]":
    """Those that earlier starts of a run noted; each halves the learning rate."""
    try:
        return run.read_summary().rewinds
    except UserError:  # it was killed before its first summary
        return []


def note_rewind(run: RunFolder, lr: float, reason: str) -> None:
    """Add a rewind to the summary of a run that has a checkpoint; lr: the configured one."""
    from minigpt.runs.checkpoints import checkpoint_to_resume, read_content
    from minigpt.runs.summary import Rewind

    summary = run.read_summary()
    to_step = read_content(checkpoint_to_resume(run)[0])["global_step"]
    halved = lr / 2 ** (len(summary.rewinds) + 1)
    rewind = Rewind(step=summary.steps, to_step=to_step, lr=halved, reason=reason)
    run.write_summary(summary.model_copy(update={"rewinds": [*summary.rewinds, rewind]}))
    print(f"{reason}; back to step {to_step} with learning rate {halved:g}", file=sys.stderr)
