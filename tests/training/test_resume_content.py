"""A checkpoint with wrong content is refused in one line, before anything of the run changes."""

import copy

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import check_form
from minigpt.runs.run_config import resumed_config
from minigpt.runs.run_folder import RunFolder
from minigpt.training.build import build_run
from minigpt.training.callbacks.early_stopping import EarlyStopping
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.callbacks.run_summary import RunSummary
from minigpt.training.callbacks.samples import TextSamples
from minigpt.training.resume import ResumePoint, check_resume
from tests.wrong_values import MISSING, accepted, changed

SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "hydra.run.dir=run"]


@pytest.fixture
def run(tiny, type_train, tmp_path):
    assert type_train(*tiny, *SHORT).code == 0
    return RunFolder(tmp_path / "run")


@pytest.fixture
def saved(run):
    return torch.load(run.last, weights_only=True)


def test_whatever_a_checkpoint_holds_in_place_of_a_value_is_one_line_or_as_good(run, saved):
    parts = build_run(resumed_config(run, ["trainer.max_epochs=2"]), resumed=True)

    def check(content):
        check_form(content, run.last)
        point = ResumePoint(run.last, content, None, "")
        check_resume(point, parts.lit, parts.data, parts.trainer, changed=True)

    check(saved)
    # A tensor that another run would have is as wrong as any value.
    for place in ("state_dict", "net.wte.weight"), ("optimizer_states", 0, "state", 0, "exp_avg"):
        with pytest.raises(UserError, match=" has the shape .3, 4. in place of .32, 16., so"):
            check(changed(saved, place, torch.zeros(3, 4)))
    few = copy.copy(saved)
    few["optimizer_states"] = copy.deepcopy(saved["optimizer_states"])
    state = few["optimizer_states"][0]["state"]
    few["optimizer_states"][0]["state"] = {number: state[number] for number in (0, 1)}
    with pytest.raises(UserError, match="checkpoint's optimizer_states state 2 is missing, so"):
        check(few)
    few["optimizer_states"][0]["state"] = {**state, 18: None}
    with pytest.raises(UserError, match="checkpoint's optimizer_states state is not what a run"):
        check(few)

    for wrong in (-1, "5", None):
        with pytest.raises(UserError, match="checkpoint's skipped_steps is not what a run saves"):
            check({**saved, "skipped_steps": wrong})

    taken = {place for place, _ in accepted(saved, check, UserError, [MISSING, None, -1, "5", []])}
    settings = {"name", "algorithm", "lr", "weight_decay", "betas", "eps", "fused", "initial_lr"}
    as_good = (
        "hparams_name",  # not read
        "pytorch-lightning_version",  # another text is judged when Lightning reads it
        "callbacks",  # each reads its own, as below
        "loops.fit_loop.state_dict", "loops.validate_loop", "loops.test_loop", "loops.predict_loop",
        "loops.fit_loop.epoch_loop.val_loop.state_dict",
        "loops.fit_loop.epoch_loop.manual_optimization.state_dict",
        "loops.fit_loop.epoch_loop.automatic_optimization.state_dict",
        *(f"optimizer_states.0.param_groups.0.{key}" for key in settings),  # this run's win
        "lr_schedulers.0.base_lrs.0", "lr_schedulers.0.lr_lambdas.0", "lr_schedulers.0._",
        "hyper_parameters.optimizer", "hyper_parameters.scheduler", "hyper_parameters.loss",
        "hyper_parameters.label_smoothing", "hyper_parameters.data.end_of_text",
    )  # fmt: skip
    assert {place for place in taken if not place.startswith(as_good)} <= {
        # A key that an older checkpoint lacks had its default.
        *(f"hyper_parameters.model.{key}" for key in saved["hyper_parameters"]["model"]),
        "hyper_parameters.data.batch_warmup",
        *(f"optimizer_states.0.param_groups.0.{key}" for key in
          ("amsgrad", "maximize", "foreach", "capturable", "differentiable",
           "decoupled_weight_decay")),
    }  # fmt: skip


WRONG_STATES = [
    *[("Metrics", ("tokens_seen",), value) for value in (MISSING, None, -1, "x")],
    *[("Metrics", ("epoch",), value) for value in (MISSING, [1.0], ["a", "b"], 5)],
    ("Metrics", ("best", "step"), None),
    ("Metrics", ("latest",), {"lr": []}),
    *[("RunSummary", ("epochs",), value) for value in (MISSING, None, [None], [{}], 7)],
    *[("RunSummary", ("commands",), value) for value in (MISSING, [], [None], "train")],
    *[("TextSamples", ("latest",), value) for value in (MISSING, {"text": ""}, 3)],
    *[("EarlyStopping", ("wait_count",), value) for value in (MISSING, None, -1, "many")],
    ("EarlyStopping", ("best_score",), torch.zeros(3)),
]


@pytest.mark.parametrize(("name", "place", "value"), WRONG_STATES)
def test_a_callback_takes_no_state_that_it_would_trip_over_later(name, place, value):
    callbacks = {
        "Metrics": Metrics(),
        "RunSummary": RunSummary(None, "train", [], None, []),
        "TextSamples": TextSamples(1, 1, 1.0),
        "EarlyStopping": EarlyStopping("val/loss", patience=3),
    }
    callbacks["Metrics"]._trainer = object()
    states = {
        "Metrics": {
            "epoch": None, "step": None, "latest": {}, "epoch_val_loss": None, "tokens_seen": 1,
            "best": {"val_loss": 1.0, "val_perplexity": None, "step": 1, "epoch": 1},
            "train_seconds": 1.0, "unlogged_seconds": 0.0,
        },
        "RunSummary": callbacks["RunSummary"].state_dict(),
        "TextSamples": {"latest": None},
        "EarlyStopping": callbacks["EarlyStopping"].state_dict(),
    }  # fmt: skip
    callbacks[name].load_state_dict(states[name])
    with pytest.raises((KeyError, ValueError)):
        callbacks[name].load_state_dict(changed(states[name], place, value))


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("loops",), MISSING, "resume: the checkpoint's loops is missing, so the run cannot"),
        (("callbacks", "Metrics", "tokens_seen"), None,
         "last.ckpt cannot be restored (ValidationError: 1 validation error for _State tokens"),
        (("pytorch-lightning_version",), "newest",
         "last.ckpt cannot be restored (InvalidVersion: Invalid version: 'newest'); it is"),
        (("hyper_parameters", "seed"), torch.zeros(2),
         "last.ckpt: its hyper_parameters hold a Tensor"),
    ],
)  # fmt: skip
def test_a_resume_says_in_one_line_what_is_wrong_and_changes_nothing(
    run, saved, type_train, place, value, reason
):
    torch.save(changed(saved, place, value), run.last)
    before = {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    typed = type_train("resume=run", "trainer.max_epochs=2")
    assert typed.code == 2
    (line,) = typed.err.splitlines()
    assert reason in line
    for path in (run.summary, run.metrics, run.last, run.best):
        assert path.read_bytes() == before[path]
