"""--help is written without Hydra's detour, and says the same."""

import pytest

from minigpt.commands.train_help import asks_for_help


@pytest.mark.parametrize("overrides", [[], ["model=base", "+sweep=seeds", "optimizer.lr=0.5"]])
def test_help_is_the_text_that_hydra_writes(type_train, monkeypatch, overrides):
    ours = type_train(*overrides, "--help")
    monkeypatch.setattr("minigpt.commands.train.asks_for_help", lambda arguments: False)
    hydras = type_train(*overrides, "--help")
    assert ours == hydras
    assert ours.code == 0


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (["--help"], True),
        (["-h", "model=base"], True),
        (["model=base"], False),
        (["--help", "--config-dir=conf"], False),
        (["--help", "hydra.job.chdir=true"], False),
        (["--help", "+hydra/launcher=joblib"], False),
        (["--hydra-help"], False),
    ],
)
def test_options_of_hydra_leave_the_help_to_it(arguments, ours):
    assert asks_for_help(arguments) is ours


def test_a_mistyped_key_beside_help_is_one_line(type_train):
    typed = type_train("--help", "model.n_emb=3")
    assert (typed.code, typed.out) == (2, "")
    assert typed.err == "error: unknown key model.n_emb; did you mean 'model.n_embd'?\n"
