"""The text of `python train.py --help`, in a quarter of the time that Hydra takes to write it.

Hydra copies its whole configuration for each of a hundred groups, its own included. The template in
conf/train.yaml names only ours.
"""

from string import Template

from omegaconf import OmegaConf, open_dict

from minigpt.config import CONF, compose_config

HELP = ("--help", "-h")


def asks_for_help(arguments: list[str]) -> bool:
    """True where help is asked for about our own configuration, without another option of Hydra."""
    overrides = [word for word in arguments if word not in HELP]
    ours = not any(word.lstrip("+~").startswith(("-", "hydra")) for word in overrides)
    return len(overrides) < len(arguments) and ours


def help_text(overrides: list[str]) -> str:
    """What Hydra prints for --help: our template with the groups and the composed configuration."""
    config = compose_config(overrides, hydra_too=True)
    template = Template(config.hydra.help.template)
    with open_dict(config):
        del config["hydra"]
    return template.substitute(APP_CONFIG_GROUPS=_groups(), CONFIG=OmegaConf.to_yaml(config))


def _groups() -> str:
    """A line for each group with its options."""
    folders = sorted(path for path in CONF.iterdir() if path.is_dir())
    options = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folders}
    return "".join(f"{group}: {', '.join(names)}\n" for group, names in options.items())
