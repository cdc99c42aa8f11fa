"""What keys of the configuration meant in runs that are older than the keys."""

from typing import Any

from minigpt.config import field_defaults, flatten
from minigpt.model.gpt import GPTConfig
from minigpt.training.optimizer import OptimizerConfig


def complete_settings(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as flat settings; a key that it does not name has its field's default.

    So an older run does not differ from a newer one in keys that were not there yet.
    """
    defaults = {
        **field_defaults(GPTConfig, "model"),
        **field_defaults(OptimizerConfig, "optimizer"),
    }
    return flatten({**defaults, **flatten(config)})
