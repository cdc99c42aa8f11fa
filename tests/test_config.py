"""Every configuration composes and builds, and a mistake in one is a line that names the key."""

import re

import pytest
from hydra.utils import instantiate

from minigpt.batches.config import DataConfig
from minigpt.config import CONF, build, compose_config, plain
from minigpt.model.gpt import GPTConfig
from minigpt.training.budget import BudgetConfig
from minigpt.training.optimizer import OptimizerConfig
from minigpt.training.schedule import SchedulerConfig

OPTIONS = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_every_group_composes_and_builds(group, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = {
        "files": ["data.files=[a.txt]"],
        "store": ["data.files=[outputs/tokens/a]"],
        "hub": ["data.hub_name=a/b"],
        "mix": ["+data.sources.a={source: stdlib, weight: 2}"],
    }.get(option, [])
    added = (
        "+" if group in ("sweep", "ablation", "ladder") else ""
    )  # which are no part of a plain run
    cfg = compose_config([f"{added}{group}={option}", f"run_dir={tmp_path}", "name=test", *needed])
    build(GPTConfig, "model", plain(cfg.model), vocab_size=cfg.model.vocab_size or 300)
    build(DataConfig, "data", cfg.data)
    build(OptimizerConfig, "optimizer", cfg.optimizer)
    build(SchedulerConfig, "scheduler", cfg.scheduler)
    build(BudgetConfig, "budget", cfg.budget)
    if option == "wandb":
        pytest.importorskip("wandb")
    for node in [*cfg.callbacks.values(), *cfg.logger.values()]:
        made = instantiate(plain(node))
        assert f"{type(made).__module__}.{type(made).__name__}".endswith(
            node._target_.rpartition(".")[2]
        )
    plain(cfg.trainer)


@pytest.mark.parametrize(
    ("experiment", "values"),
    [
        ("memorize", (5e-4, 0.1, 64, 4, "cosine_epoch", 10)),
        ("baseline", (1e-3, 0.01, 128, 32, "none", 2)),
        ("lower_lr", (5e-4, 0.01, 128, 32, "none", 2)),
        ("wider", (5e-4, 0.01, 256, 16, "none", 2)),
    ],
)
def test_experiments_are_what_the_reports_say(experiment, values):
    cfg = compose_config([f"experiment={experiment}"])
    assert (
        cfg.optimizer.lr,
        cfg.optimizer.weight_decay,
        cfg.model.n_embd,
        cfg.data.batch_size,
        cfg.scheduler.name,
        cfg.trainer.max_epochs,
    ) == values
    assert cfg.name == experiment
    assert cfg.trainer.gradient_clip_val == 1.0


def test_the_defaults_are_the_memorisation_experiment():
    default = plain_but_name(compose_config(["name=memorize"]))
    assert plain_but_name(compose_config(["experiment=memorize"])) == default


def plain_but_name(cfg):
    return {k: plain(cfg[k]) for k in cfg if k not in ("name", "run_dir", "callbacks", "logger")}


# Typed by hand

ONE_LINE = {
    ("model.n_emb=3",): "unknown key model.n_emb; did you mean 'model.n_embd'?",
    ("optimiser.lr=3",): "unknown key optimiser.lr; did you mean 'optimizer.lr'?",
    ("model=hugee",): "model=hugee is not one of base, gpt2, mini, wide",
    ("experiment=baselin",): "did you mean 'baseline'?",
    ("+model.n_heads=3",): "unknown key model.n_heads; did you mean 'model.n_head'?",
    ("+trainer.max_epoch=3",): "unknown key trainer.max_epoch; did you mean 'trainer.max_epochs'?",
    ("model.n_embd=abc",): "model.n_embd must be int, got 'abc'",
    ("model.n_embd=65",): "model.n_embd=65 is not a multiple of model.n_head=2; 66 would be",
    ("model.n_layer=0",): "model.n_layer must be above 0, got 0",
    ("model.dropout=1.5",): "model.dropout must lie in [0, 1), got 1.5",
    ("model.vocab_size=100",): "model.vocab_size=100: data.source=sample has the token id 49804",
    ("model.block_size=6000",): "train has 5120 tokens in 10 documents, one block needs 6001",
    ("data.batch_size=0",): "data.batch_size must be above 0, got 0",
    ("data.tokenizer=gpt5",): "data.tokenizer=gpt5 is not one of char",
    ("data=files",): "data.files is empty; name text files or globs",
    ("data=files", "data.files=[no.txt]"): "data.files: no such file: no.txt",
    ("data=files", "data.files=[no/*.txt]"): "data.files: no file matches 'no/*.txt'",
    ("data=files", "data.files=[.]"): "data.files: . is a folder; name its files",
    ("optimizer.lr=-1",): "optimizer.lr must be above 0, got -1",
    ("scheduler.name=cos",): "scheduler.name=cos is not one of none, cosine_epoch",
    ("loss=fast",): "loss=fast is not one of auto, bfloat16, float32, chunked, dense, liger, cut",
    (
        "loss=liger",
    ): "loss=liger does not run on cpu; choose one of auto, bfloat16, float32, chunked",
    ("seed=x",): "seed must be a whole number from 0 to 2^63 - 1, got 'x'",
    ("trainer.accelerator=gpux",): "trainer.accelerator=gpux: ",
    ("trainer.devices=0",): "trainer.devices=0: ",
    ("trainer.compile=1",): "trainer.compile=1 is not one of false, true, reduce-overhead",
    ("trainer.tf32=1",): "trainer.tf32=1 is not one of true, false",
    ("~trainer.precision",): "trainer.precision is missing",
    ("trainer.precision=bf17",): "trainer.precision=bf17: ",
    ("trainer.max_epochs=ten",): "trainer.max_epochs must be a whole number, got 'ten'",
    ("trainer.max_epochs=0",): "trainer.max_epochs must be at least 1, got 0",
    ("trainer.max_epochs=-1",): "the run would never end: set trainer.max_epochs or",
    ("trainer.accumulate_grad_batches=0",): "trainer.accumulate_grad_batches must be at least 1",
    ("callbacks.foo=1",): "callbacks.foo is not a callback of this run: alignment_guard, samples, "
    "progress, best, interruption, last",
    ("logger.foo=1",): "logger.foo is not a logger of this run: tensorboard, csv",
    ("callbacks.sample.new_tokens=1",): "interruption, last; did you mean 'samples'?",
    ("callbacks.samples.new_token=1",): "did you mean 'callbacks.samples.new_tokens'?",
    ("callbacks.early_stopping.patience=3",): "last; callbacks=early_stopping adds it",
    ("+callbacks.foo=1",): "callbacks.foo has no _target_; +callbacks.foo._target_=MODULE.CLASS",
    ("trainer.max_epochs=[1",): "'trainer.max_epochs=[1': close its [, or write "
    """'trainer.max_epochs="[1"' if it is text""",
    ("optimizer.betas=[0.9,[0.5]",): "'optimizer.betas=[0.9,[0.5]': close its [",
    ("trainer.max_time={hours: 1",): "'trainer.max_time={hours: 1': close its {",
    ("--foo",): "unrecognized arguments: --foo; python train.py --hydra-help lists the options",
    ("--config-dir",): "--config-dir/-cd: expected one argument; python train.py --hydra-help",
    ("resume=",): "resume= is empty; name a run folder: resume=outputs/NAME/RUN",
    ("+resume=nowhere",): "nowhere: this is not a run folder, it has no config.yaml",
    ("++resume=nowhere",): "nowhere: this is not a run folder, it has no config.yaml",
    ("resume=nowhere",): "nowhere: this is not a run folder, it has no config.yaml",
    ("callbacks=null",): "callbacks=null: a config group takes the name of an option",
    ("model=3",): "model=3: a config group takes the name of an option",
    ("a b",): "cannot read the argument 'a b'",
    ("trainer.accelerator=gpu",): "trainer.accelerator=gpu: No supported gpu backend",
    ("trainer.val_check_interval=0",): "trainer.val_check_interval must be a count or a share",
    ("trainer.val_check_interval=5",): "is beyond trainer.limit_train_batches=1",
    ("optimizer.betas=[a,b]",): "optimizer.betas must be a list of float, got ['a', 'b']",
    ("data=files", "data.files=[1]"): "data.files must be a list of text, got [1]",
    ("seed=99999999999999999999999",): "seed must be a whole number from 0 to 2^63 - 1",
    ("data.root=/proc/x",): "data.root=/proc/x cannot be made a folder",
    ("foo=1",): "unknown key foo; python train.py --help lists the keys",
    ("callbacks.samples.temperature=0",): "temperature must lie in [0.001, 1000], got 0",
    ("model.tie_weights=true", "model.init=torch"): "model.tie_weights=true needs model.init=gpt2",
    (
        "trainer.val_check_interval=2000",
        "trainer.limit_train_batches=1.0",
    ): "trainer.val_check_interval=2000 is beyond the 1264 batches",
    ("trainer.num_sanity_val_steps=x",): "trainer.num_sanity_val_steps must be a whole number, got",
    ("+trainer.check_val_every_n_epoch=0",): "trainer.check_val_every_n_epoch must be at least 1",
    ("trainer.limit_test_batches=true",): "trainer.limit_test_batches must be a count or a share",
    ("optimizer.lr=inf",): "optimizer.lr must be a finite number, got inf",
    ("optimizer.weight_decay=nan",): "optimizer.weight_decay must be a finite number, got nan",
    ("optimizer.betas=[0.9,inf]",): "optimizer.betas must be a finite number, got inf",
    ("budget.tokens=inf",): "budget.tokens must be a finite number, got inf",
    ("trainer.gradient_clip_val=inf",): "trainer.gradient_clip_val must be a finite number",
    ("hydra.run.dir=/proc/x",): "/proc/x: No such file or directory; free some space or choose",
    ("data.files=[c (1).txt]",): """write it as 'data.files=["c (1).txt"]'""",
    ("data.files=[d=e.txt]",): """write it as 'data.files=["d=e.txt"]'""",
    ("data.files=[~/x]",): """write it as 'data.files=["~/x"]'""",
    ("data.files=c (1).txt",): """write it as 'data.files="c (1).txt"'""",
    ("trainer.gradient_clip_val=-1",): "trainer.gradient_clip_val must be above 0 or null",
}


@pytest.mark.parametrize("arguments", ONE_LINE)
def test_bad_input_is_one_line_that_names_the_key_and_leaves_nothing(
    arguments, type_train, tmp_path
):
    # Short, should the mistake be let through.
    short = ("limit_train_batches=1", "limit_val_batches=1", "max_epochs=1")
    typed = type_train(*(f"trainer.{setting}" for setting in short), *arguments)
    assert typed.code == 2
    assert ONE_LINE[arguments] in typed.err
    assert typed.err.startswith("error: ")
    assert typed.err.count("\n") == 1
    assert not re.search("Traceback|HYDRA_FULL_ERROR", typed.err)
    assert {path.name for path in tmp_path.glob("outputs/*")} <= {"tokens"}
    assert tmp_path.is_dir()  # though it was empty before


def test_check_answers_a_mistake_as_train_does(type_minigpt):
    typed = type_minigpt("check", "model.n_emb=3")
    assert (typed.code, typed.err) == (
        2,
        "error: unknown key model.n_emb; did you mean 'model.n_embd'?\n",
    )


def test_help_names_the_groups_and_the_commands(type_train):
    typed = type_train("--help")
    assert typed.code == 0
    for word in (
        "experiment: baseline, lower_lr, memorize, modern, modern_bpe, wider",
        "resume=",
        "n_embd: 64",
    ):
        assert word in typed.out
