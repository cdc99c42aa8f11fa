"""A run's config.yaml: written when the run starts, and changed key by key when it is resumed."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from minigpt.command_lines import resume_command
from minigpt.config import dotted_keys, plain
from minigpt.errors import UserError, nearest
from minigpt.runs.run_folder import RunFolder, newest_run


def resolved(config: DictConfig) -> dict[str, Any]:
    """The content of config.yaml: every value resolved, except those that name the run's folder.

    So that a run folder can be moved.
    """
    content = plain(config)
    for key in ("callbacks", "logger"):
        content[key] = OmegaConf.to_container(config[key]) if config[key] else None
    return content


def is_same(config: DictConfig, run: RunFolder) -> bool:
    """True if a run was begun with this configuration, in whatever folder."""
    return {**run.read_config(), "run_dir": ""} == {**resolved(config), "run_dir": ""}


def parsed(overrides: list[str]) -> list[Override]:
    """Overrides as Hydra reads them."""
    return list(OverridesParser.create().parse_overrides(overrides))


def resumed_config(run: RunFolder, overrides: list[str]) -> DictConfig:
    """The configuration of a run to resume, with this start's `key=value` overrides on top.

    Raises UserError where the folder holds no run, or an override names no key of its config.yaml.
    """
    if not run.has_run:
        newest = newest_run(run.path)
        way_out = f"; the newest run below it: {resume_command(newest.path)}" if newest else ""
        raise UserError(
            f"resume={run.path}: this is not a run folder, it has no {run.config.name}{way_out}"
        )
    config = OmegaConf.create(run.read_config())
    keys = dotted_keys(config)
    for override in parsed(overrides):
        key, value = override.key_or_group, override.value()
        if key.partition(".")[0] in ("hydra", "run_dir"):
            raise UserError(f"{key}: a resumed run keeps its folder and runs alone; leave it out")
        if key == "model.from":
            raise UserError(f"{key}: a resumed run has its own weights already; leave it out")
        if override.is_delete():
            raise UserError(f"~{key}: a resumed run keeps all of its keys; set it to another value")
        if override.is_sweep_override():
            raise UserError(f"{key}: resume continues one run, not several")
        if key not in keys and not override.is_add():
            raise UserError(f"unknown key {key}{nearest(key, keys)}")
        if OmegaConf.is_config(OmegaConf.select(config, key)) and not isinstance(value, list):
            raise UserError(
                f"{key}={value}: a resumed run keeps its config groups; override single keys, "
                f"such as {key}.<name>=..."
            )
        OmegaConf.update(config, key, value, force_add=True)
    config.run_dir = str(run.path)
    return config
