"""Every command that the README shows does what it says, cut short."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from filelock import FileLock

from minigpt.commands import verify_resume
from tests.conftest import REPOSITORY, run_folders

SHORT = [f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
SHORT += ["trainer.max_epochs=1"]
# A head of a hundred characters: short runs would spend their time on GPT-2's.
SMALL = ["data.tokenizer=char", "data.vocab_size=null"]

BLOCKS = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]


def test_the_readme_shows_the_commands_that_matter():
    for start in ("make train", "make test", "python train.py", "minigpt check", "tensorboard"):
        assert any(command.startswith(start) for command in COMMANDS)


@pytest.fixture
def shared(tmp_path, tmp_path_factory):
    """A folder for all test processes; it has the token stores that each of them needs."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "readme"
    (folder / "tokens").mkdir(parents=True, exist_ok=True)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "tokens").symlink_to(folder / "tokens")
    return folder


@pytest.fixture
def trained_run(shared, type_train, tmp_path):
    """Copies the folder of a short run, which is trained once, to where a user has it."""

    def copy():
        with FileLock(shared / "run.lock"):
            if not (shared / "run").exists():
                assert type_train(*SHORT, *SMALL, "trainer.max_epochs=2").code == 0
                (folder,) = run_folders(tmp_path)
                folder.rename(shared / "run")
        folder = tmp_path / "outputs" / "sample-1x64" / "a-run"
        shutil.copytree(shared / "run", folder)
        return folder

    return copy


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(
    command, type_train, type_minigpt, tmp_path, monkeypatch, trained_run
):
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.M)
        assert words[1] in targets
        return
    if words[0] == "eval":
        assert completions(command, "python train.py experiment=w") == ["experiment=wider"]
        return
    if words[0] == "tensorboard":
        assert entry_points(group="console_scripts", name="tensorboard")
        return
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    if "outputs/sample-1x64/RUN" in command:
        name = trained_run().name
        words = [word.replace("RUN", name) for word in words]
    if words[1] == "compare":
        trained_run()
    if words[1] == "verify-resume":  # whose own test runs it
        proof = {"rows": 6, "differences": []}
        monkeypatch.setattr(verify_resume, "verify_resume", lambda *arguments: proof)
    words = ["budget.tokens=512" if word.startswith("budget.tokens=") else word for word in words]
    if words[:2] == ["python", "train.py"]:
        # Two commands stay as they are typed: the first taste, and a text of the user's.
        small = [] if {"trainer=quick", "data=files"} & {*words} or "resume" in command else SMALL
        typed = type_train(*words[2:], *small, *([] if "resume" in command else SHORT))
    else:
        assert words[0] == "minigpt"
        typed = type_minigpt(*words[1:])
    assert (typed.code, typed.err) == (0, "")
    assert typed.out


def completions(command, typed):
    """What bash offers for a line, after a command that sets completion up."""
    script = f"""
        {command}
        COMP_LINE={shlex.quote(typed)} COMP_POINT={len(typed)} COMP_WORDS=({typed}) COMP_CWORD=2
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
    )  # fmt: skip
    return done.stdout.split()
