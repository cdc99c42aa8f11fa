"""A wheel holds what a user needs and nothing else, and works in an empty folder."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import minigpt
from minigpt.version import code_commit
from tests.conftest import REPOSITORY

SOURCES = (
    "minigpt",
    "conf",
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "LICENSE",
    ".gitignore",
)

# Runs several `minigpt` commands in one process, since importing torch takes longer than they do.
# An editable install puts the checkout on the path as well: a module that the wheel lacks would be
# found there.
RUN = """
import json, runpy, sys
checkout, commands = sys.argv[1:]
sys.path[:] = [place for place in sys.path if place != checkout]
for command in json.loads(commands):
    print(">", *command)
    sys.argv = ["minigpt", *command]
    runpy.run_module("minigpt.commands.main", run_name="__main__")
"""


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def build(folder, target):
    """Builds a wheel or sdist without a network, with the build backend that is installed."""
    out = folder / "dist"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (built,) = out.iterdir()
    return built


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def baked_commit(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("minigpt/commit.txt").decode()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with one commit, of the files that a build reads."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Everything")
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return shutil.move(build(checkout, "wheel"), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_holds_the_package_the_configuration_and_the_commit_and_nothing_else(
    checkout, wheel
):
    package = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / "minigpt").rglob("*")
        if path.is_file()
    }
    conf = {
        f"minigpt/{path.relative_to(checkout).as_posix()}"
        for path in (checkout / "conf").rglob("*.yaml")
    }
    metadata = {name for name in names(wheel) if name.startswith("minigpt-0.1.0.dist-info/")}
    assert names(wheel) - metadata == package | conf | {"minigpt/commit.txt"}
    for needed in (
        "minigpt/conf/train.yaml",
        "minigpt/conf/experiment/wider.yaml",
        "minigpt/text/sample/train/01_tides.txt",
        "minigpt/reports/report.html.jinja",
        "minigpt/py.typed",
        "minigpt-0.1.0.dist-info/licenses/LICENSE",
    ):
        assert needed in names(wheel)


def test_a_wheel_names_its_commit_and_says_when_the_tree_had_changes(checkout, wheel):
    commit = git(checkout, "rev-parse", "HEAD")
    assert baked_commit(wheel) == f"{commit}\n"
    errors = checkout / "minigpt" / "errors.py"
    before = errors.read_text("utf-8")
    errors.write_text(before + "\n", "utf-8")
    try:
        assert baked_commit(build(checkout, "wheel")) == f"{commit}-dirty\n"
    finally:
        errors.write_text(before, "utf-8")


def test_a_wheel_built_from_an_sdist_names_the_same_commit(checkout, tmp_path):
    with tarfile.open(build(checkout, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    wheel = build(tmp_path / "minigpt-0.1.0", "wheel")
    assert baked_commit(wheel) == git(checkout, "rev-parse", "HEAD") + "\n"
    assert "minigpt/conf/train.yaml" in names(wheel)


def test_a_checkout_asks_git_for_its_commit(checkout):
    found = subprocess.run(
        [sys.executable, "-c", "from minigpt.version import code_commit; print(code_commit())"],
        cwd=checkout, env={**os.environ, "GIT_DIR": "/nowhere"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert found.stdout.strip() == git(checkout, "rev-parse", "HEAD")


def test_the_commit_of_another_project_is_not_taken_for_ours(checkout, tmp_path, monkeypatch):
    """As in a virtual environment inside a repository."""
    site = tmp_path / "venv" / "minigpt"
    site.mkdir(parents=True)
    (tmp_path / "README.md").write_text("Another project.\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "README.md")
    git(tmp_path, "commit", "--quiet", "--message", "Another project")
    monkeypatch.setattr("minigpt.version._PACKAGE", site)
    assert code_commit() is None


def test_the_metadata_are_complete(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read("minigpt-0.1.0.dist-info/METADATA"))
    assert metadata["Version"] == minigpt.__version__ == "0.1.0"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    for key in ("Summary", "Author", "Keywords", "Classifier", "Description-Content-Type"):
        assert metadata[key]


def test_ci_runs_the_versions_of_python_that_the_metadata_name():
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text("utf-8"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    assert named == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("name", ["ci", "release"])
def test_a_workflow_may_only_read(name):
    workflow = yaml.safe_load((REPOSITORY / f".github/workflows/{name}.yml").read_text("utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}


def test_the_package_in_a_wheel_is_the_one_that_runs(unpacked, tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", "import minigpt.config as c; print(c.__file__, c.CONF, sep='\\n')"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(unpacked)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    file, conf = found.stdout.splitlines()
    assert Path(file) == unpacked / "minigpt" / "config.py"
    assert Path(conf) == unpacked / "minigpt" / "conf"


def test_from_a_wheel_the_commands_work_in_an_empty_folder(unpacked, tmp_path):
    short = [f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
    prompt = "Twice a day"
    commands = [
        ["check", "model=mini"],
        ["train", "trainer.max_epochs=1", "hydra.run.dir=run", *short],
        ["inspect", "data=sample"],
        ["compare", "run"],
        ["generate", "run", "--prompt", prompt, "--max-new-tokens", "2"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(REPOSITORY), json.dumps(commands)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = re.split(r"^> .*\n", done.stdout, flags=re.MULTILINE)[1:]
    assert "6,479,053" in printed[0]
    assert '"finished"' in (tmp_path / "run" / "summary.json").read_text("utf-8")
    assert "5,120" in printed[2]
    assert (tmp_path / "run" / "report.html").is_file()
    assert printed[4].startswith(prompt)
