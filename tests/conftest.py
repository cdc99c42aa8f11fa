from jaxtyping import install_import_hook

install_import_hook(
    [
        "minigpt.model.attention",
        "minigpt.model.block",
        "minigpt.model.loss",
        "minigpt.model.positions",
        "minigpt.model.generate",
    ],
    "beartype.beartype",
)
"""A corpus and a network small enough to train in a second, and train.py as a user types it."""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from minigpt.batches.config import DataConfig
from minigpt.config import build, compose_config

# Networks this small gain nothing from a second thread, and lose much where cores are shared.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY))  # train.py stands beside the package, not in it

TEXT = "the tide comes in and the tide goes out while boats wait for water over the bar"
WORDS = TEXT.split()

TINY_MODEL = [
    "model.n_layer=1",
    "model.n_embd=16",
    "model.block_size=8",
    "model.vocab_size=null",
    "callbacks.samples.new_tokens=4",
    "callbacks.samples.prompt_tokens=2",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty short files, all of them different."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i in range(40):
        words = [WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(20 + i % 5)]
        (folder / f"{i:02}.txt").write_text(f"{i} " + " ".join(words) + ".\n", "utf-8")
    return folder


@pytest.fixture
def tiny(corpus: Path, tmp_path: Path) -> list[str]:
    """Overrides for a run of the corpus on a tiny network: 96 or so training blocks a few steps."""
    return [
        "data=files",
        f"data.files=[{corpus}/*.txt]",
        "data.tokenizer=char",
        f"data.root={tmp_path}/tokens",
        "data.val_fraction=0.2",
        "data.test_fraction=0.2",
        "data.batch_size=16",
        *TINY_MODEL,
        "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
    ]


@dataclass
class Typed:
    """What a command left behind."""

    code: int
    out: str
    err: str


def caught(command: Callable[[], object], capfd: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command to its end, however it ends."""
    capfd.readouterr()
    code = 0
    try:
        command()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    found = capfd.readouterr()
    return Typed(code, found.out, found.err)


@pytest.fixture
def type_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Typed]:
    """Runs `python train.py ...` inside this process, in an empty folder."""
    import train
    from minigpt.config import one_line_errors

    monkeypatch.chdir(tmp_path)

    def start() -> None:
        with one_line_errors():
            train.main()

    def run(*arguments: str) -> Typed:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        HydraConfig.instance().cfg = None  # as in a process of its own
        return caught(start, capfd)

    return run


@pytest.fixture
def type_minigpt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Typed]:
    """Runs `minigpt ...` inside this process, in an empty folder."""
    from minigpt.commands.main import main

    monkeypatch.chdir(tmp_path)

    return lambda *arguments: caught(lambda: main(list(arguments)), capfd)


def run_folders(root: Path) -> list[Path]:
    """Every run folder below outputs/, in order of their names."""
    return sorted(path.parent for path in root.glob("outputs/**/summary.json"))


@pytest.fixture
def data(tmp_path):
    """The `data` config for a group's option and changed keys."""

    def make(option="files", **changes):
        config = build(
            DataConfig, "data", compose_config([f"data={option}", *_needed(option)]).data
        )
        return dataclasses.replace(config, **{"root": str(tmp_path / "stores"), **changes})

    return make


def _needed(option):
    needed = {
        "files": "data.files=[none.txt]",
        "hub": "data.hub_name=none/none",
        "mix": "+data.sources.a={source: sample}",
    }
    return [needed[option]] if option in needed else []
