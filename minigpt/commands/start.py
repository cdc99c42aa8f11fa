"""`model.from` of a composed configuration, before anything else reads it."""

from collections.abc import Sequence

from omegaconf import DictConfig

from minigpt.lean_imports import without_collection


def with_start(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the shape of the folder that model.from names, if it names one."""
    if config.model.get("from") is None:
        return config
    # Imported only now: a run without the key must not wait for it.
    with without_collection():
        from minigpt.interop.start import take_shape

    return take_shape(config, overrides)
