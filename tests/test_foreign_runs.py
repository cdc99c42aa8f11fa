"""A run folder from somebody else executes nothing, and says why it is refused."""

import pytest
from omegaconf import OmegaConf

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder

SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "hydra.run.dir=run"]


@pytest.fixture
def run(tiny, type_train, tmp_path):
    assert type_train(*tiny, *SHORT).code == 0
    return RunFolder(tmp_path / "run")


CANARY = {"_target_": "builtins.open", "_args_": ["canary", "w"]}


@pytest.mark.parametrize(
    ("group", "part", "target"),
    [
        ("callbacks", CANARY, "builtins.open"),
        ("logger", CANARY, "builtins.open"),
        ("callbacks", {**CANARY, "_target_": "pathlib.Path.touch", "_args_": ["canary"]},
         "pathlib.Path.touch"),
        ("callbacks", {"_target_": "minigpt.commands.train.main"}, "minigpt.commands.train.main"),
        ("callbacks", {"_target_": "lightning.pytorch.callbacks.Timer", "duration": CANARY},
         "lightning.pytorch.callbacks.Timer"),
        ("callbacks", {"_target_": "lightning.pytorch.callbacks.Timer", "_partial_": True},
         "lightning.pytorch.callbacks.Timer"),
    ],
)  # fmt: skip
def test_a_resume_makes_no_part_that_the_folder_alone_names(
    run, type_train, tmp_path, group, part, target
):
    config = run.read_config()
    config[group]["part"] = part
    run.write_config(config)
    typed = type_train("resume=run", "trainer.max_epochs=2")
    assert typed.code == 2
    assert typed.err == (
        f"error: {run.config}: {group}.part names {target}, which a resume would run; if it is "
        f"yours, say so again with '{group}.part._target_={target}', else leave this folder alone\n"
    )
    assert not (tmp_path / "canary").exists()


def test_a_part_that_the_user_names_again_is_made(run, type_train, tmp_path):
    config = run.read_config()
    config["callbacks"]["part"] = {"_target_": "tests.named_callbacks.Touch", "path": "touched"}
    run.write_config(config)
    words = ["resume=run", "trainer.max_epochs=2"]
    assert type_train(*words).code == 2
    typed = type_train(*words, "callbacks.part._target_=tests.named_callbacks.Touch")
    assert (typed.code, typed.err) == (0, "")
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("addition", "reason"),
    [
        ("a: ${oc.env:HOME}\n", r"it has the interpolation \$\{oc.env:HOME\}"),
        ('a: "$\\x7boc.env:HOME}"\n', r"it has the interpolation \$\{oc.env:HOME\}"),
        ("b: env\na: ${oc.${b}:HOME}\n", r"it has the interpolation \$\{oc.\$\{b\}:HOME\}"),
        ("b: 1\na: ${b}\n", r"it has the interpolation \$\{b\}"),
        ("logger: {a: {b: '${model}'}}\n", r"it has the interpolation \$\{model\}"),
        (
            "logger: {a: {b: '${seed}${seed}'}}\n",
            r"it has the interpolation \$\{seed\}\$\{seed\}",
        ),
        ("a: ${oc.decode:x}\n", r"it has the interpolation \$\{oc.decode:x\}"),
        ("a: &a [1, 1]\nb: [*a, *a]\n", "it has YAML aliases"),
        ("a: " + "[" * 5000, "it is nested too deeply"),
        ("a: " + "b" * 1_000_000, "it has more than 1,000,000 bytes"),
    ],
)
def test_a_configuration_that_no_run_writes_is_refused(tmp_path, addition, reason):
    run = RunFolder(tmp_path)
    sections = {"model": {}, "data": {}, "optimizer": {}, "trainer": {}, "callbacks": None}
    run.config.write_text(OmegaConf.to_yaml(sections))
    assert run.read_config() == sections
    run.config.write_text(OmegaConf.to_yaml(sections) + addition)
    with pytest.raises(UserError, match=rf"config.yaml cannot be read \(({reason})\)"):
        run.read_config()


@pytest.mark.parametrize(
    "text", ["No", "2020-01-01", "1", "a", "- a", "", "a: !!python/name:os.system"]
)
def test_a_configuration_that_is_not_a_mapping_is_refused(tmp_path, text):
    run = RunFolder(tmp_path)
    run.config.write_text(text)
    with pytest.raises(UserError, match="config.yaml (cannot be read|is not the configuration)"):
        run.read_config()
