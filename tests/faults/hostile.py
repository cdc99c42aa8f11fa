"""Folders and files from somebody who means harm, each with a canary that must not sing.

A canary sings if the file `canary` is made, if what an environment variable holds is shown, if a
page has a script of theirs, or if a command takes more memory or time than its limits.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import yaml

PRIVATE = "nobody else may read this"  # in a file of the user's
SCRIPT = "</script><script>document.title='canary'</script>"
FORMULA = "=cmd|' /c calc'!A0"
RESUME = ("train.py", "resume=run", "trainer.max_epochs=3")
GENERATE = ("minigpt", "generate", "run", "--max-new-tokens", "2", "--prompt", "the")
EVALUATE = ("minigpt", "evaluate", "run")
COMPARE = ("minigpt", "compare", ".")
EXPLORE = ("minigpt", "explore", "run")
MEMORIZATION = ("minigpt", "memorization", "run")
EXPORT = ("minigpt", "export", "run", "exported", "--format", "hf", "--force")
INSPECT = ("minigpt", "inspect", "data=store", "data.files=[store]")
IMPORT = ("minigpt", "import", "exported", "imported")
START = ("train.py", "model.from=exported", "data=store", "data.files=[store]", "hydra.run.dir=new",
         "trainer.max_steps=1", "trainer.accelerator=cpu")  # fmt: skip
SWEEP = ("train.py", "-m", "data=store", "data.files=[store]", "hydra.sweep.dir=sweep", "seed=1,2",
         "trainer.max_steps=1", "trainer.accelerator=cpu")  # fmt: skip
FETCH = ("train.py", "resume=file://{folder}/there/name/run")
READERS = (RESUME, GENERATE, EVALUATE, COMPARE, EXPLORE, MEMORIZATION, EXPORT)


class Sings:
    """Pickled, it makes the canary when it is read."""

    def __reduce__(self):
        return os.system, ("touch canary",)


@dataclass
class Hostile:
    """What a stranger did to a good folder, and what is typed there."""

    name: str
    arrange: Callable[[Path], None]
    commands: tuple[tuple[str, ...], ...]
    refused: bool = True  # False: the command may end well, with the content escaped


def part_of_config(target, group="callbacks"):
    def arrange(folder):
        edit_config(folder, lambda config: config[group].update(evil=target))

    return arrange


def edit_config(folder, change):
    path = folder / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def data_with(**keys):
    """A run that names other text or other places; {outside} stands for the user's own files."""

    def arrange(folder):
        named = {
            key: json.loads(json.dumps(value).replace("{outside}", str(outside_of(folder))))
            for key, value in keys.items()
        }
        edit_config(folder, lambda config: config["data"].update(named))

    return arrange


def outside_of(folder):
    """The user's own files: nothing in them may change, and nothing may come to them."""
    return folder.parent / "outside"


def theirs(folder):
    """A folder that stands for a stranger's bucket."""
    return f"file://{outside_of(folder)}/bucket"


def mirrored(folder):
    edit_config(folder, lambda config: config.update(mirror=theirs(folder)))


def events_named(name, target="minigpt.training.tensorboard_logger.TensorBoardEvents"):
    logger = {"_target_": target, "save_dir": "${run_dir}", "name": name, "version": ""}
    return part_of_config(logger, "logger")


def config_with(text):
    return lambda folder: append(folder / "run" / "config.yaml", text)


def append(path, text):
    path.write_text(path.read_text() + text)


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def checkpoints_with(change):
    def arrange(folder):
        for path in (folder / "run" / "checkpoints").glob("*.ckpt"):
            content = torch.load(path, weights_only=True)
            change(content)
            torch.save(content, path)

    return arrange


def checkpoints_of(content):
    def arrange(folder):
        for path in (folder / "run" / "checkpoints").glob("*.ckpt"):
            path.write_bytes(content)

    return arrange


@cache
def compressed_archive():
    """An archive of half a megabyte whose structure takes half a gigabyte."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w") as file:
            for _ in range(64):
                file.write(bytes(1 << 23))
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


def compressed_checkpoints(folder):
    checkpoints_of(compressed_archive())(folder)


def huge_tensor(content):
    key = next(iter(content["state_dict"]))
    content["state_dict"][key] = torch.zeros(1).expand(1 << 40)


def bytearray_of(size):
    """A pickle that makes a bytearray of so many bytes."""
    return b"\x80\x02cbuiltins\nbytearray\n" + b"\x8a\x05" + size.to_bytes(5, "little") + b"\x85R."


def archive_of(stream, name="archive/data.pkl"):
    """A checkpoint whose structure is a pickle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, stream)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return content.getvalue()


def saved(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def instead_of_file(name, make):
    def arrange(folder):
        path = folder / name
        path.unlink()
        make(path)

    return arrange


def private_link(path):
    path.symlink_to(outside_of(path.parent.parent) / "notes" / "private.txt")


def manifest_with(change):
    def arrange(folder):
        edit_json(folder / "store" / "manifest.json", change)

    return arrange


def many_tokens(manifest):
    manifest["tokens"]["train"] = 10**15
    for shard in manifest["shards"]["train"]:
        shard["tokens"] = 10**15


def shard_outside(folder):
    path = next((folder / "store").glob("train*.bin"))
    path.rename(folder / "elsewhere")
    path.symlink_to("/dev/zero")


def model_file(header_bytes):
    def arrange(folder):
        path = folder / "exported" / "model.safetensors"
        path.write_bytes(struct.pack("<Q", header_bytes) + b"{}" + bytes(100))

    return arrange


def header_that_lies(folder):
    """A header whose tensor has more bytes than any memory."""
    tensor = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = json.dumps({"wte.weight": tensor}).encode()
    path = folder / "exported" / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def pickled_model(folder):
    (folder / "exported" / "model.safetensors").unlink()
    (folder / "exported" / "pytorch_model.bin").write_bytes(saved({"wte.weight": Sings()}))


def remote_code(folder):
    """What `trust_remote_code` of transformers would run."""
    edit_json(folder / "exported" / "config.json", lambda config: config.update(
        auto_map={"AutoModelForCausalLM": "evil.Evil"}, model_type="evil"))  # fmt: skip
    (folder / "exported" / "evil.py").write_text("open('canary', 'w')")


def names_for_pages(folder):
    """A run whose every text is markup for some reader: HTML, a spreadsheet, a terminal."""
    text = SCRIPT + FORMULA + "\x1b]0;canary\x07\n| x |"

    def change(summary):
        summary.update(reason=text, command=text, overrides=[text], code_commit="; touch canary")
        summary["sample"] = {"prompt": text, "text": text}
        summary["data"]["source"] = text

    edit_json(folder / "run" / "summary.json", change)
    (folder / FORMULA.replace("/", "")).mkdir()
    for name in ("config.yaml", "summary.json", "metrics.csv"):
        target = folder / FORMULA.replace("/", "") / name
        target.write_bytes((folder / "run" / name).read_bytes())
    edit_config(folder, lambda config: config.update(name=text))


def metrics_for_pages(folder):
    append(folder / "run" / "metrics.csv", f"{FORMULA},{SCRIPT},\x1b[2J\n")


def copy_with(name):
    """The copy of a run at a URL whose list of files names one outside of the folder."""

    def arrange(folder):
        there = folder / "there" / "name" / "run"
        (there / "objects").mkdir(parents=True)
        sha256 = "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b"
        (there / "objects" / sha256).write_bytes(b"\n")
        files = {name: {"sha256": sha256, "bytes": 1}}
        (there / "latest.json").write_text(json.dumps({"files": files}))

    return arrange


def job_elsewhere(folder):
    """A sweep whose first job is a link to another run."""
    (folder / "sweep").mkdir()
    (folder / "sweep" / "0-seed=1").symlink_to(folder / "run")


def deep(opening):
    return opening * 100_000


def deep_manifest(folder):
    (folder / "store" / "manifest.json").write_text(deep("{"))


TARGETS = (
    {"_target_": "torch.hub.load", "_args_": ["nowhere", "nothing"]},
    {"_target_": "torch.load", "f": "canary.pt"},
    {"_target_": "numpy.load", "file": "canary.npy", "allow_pickle": True},
    {"_target_": "builtins.open", "_args_": ["canary", "w"]},
    {"_target_": "shutil.copyfile", "src": "run/config.yaml", "dst": "canary"},
    {"_target_": "lightning.pytorch.callbacks.LambdaCallback",
     "on_fit_start": {"_target_": "builtins.open", "_args_": ["canary", "w"]}},
)  # fmt: skip

ALL = (
    *(Hostile(t["_target_"], part_of_config(t), (RESUME,)) for t in TARGETS),
    Hostile("a logger", part_of_config(TARGETS[3], "logger"), (RESUME,)),
    Hostile("a secret of the environment", config_with("a: ${oc.env:PATH}\n"), (RESUME, EVALUATE)),
    Hostile("a secret behind an escape", config_with('a: "$\\x7boc.env:PATH}"\n'),
            (RESUME, EVALUATE)),
    Hostile("a secret behind another name", config_with("b: env\na: ${oc.${b}:PATH}\n"),
            (RESUME, EVALUATE)),
    Hostile("values that double", config_with(
        "a0: aa\n" + "".join(f"a{i + 1}: ${{a{i}}}${{a{i}}}\n" for i in range(40))),
            (RESUME, EVALUATE)),
    Hostile("a cache among the user's files", data_with(root="file://{outside}/bucket",
            cache="{outside}", cache_bytes=1), (RESUME, EVALUATE)),
    Hostile("a private file as text, for a stranger's bucket", data_with(
        root="file://{outside}/bucket", cache="cache", files=["{outside}/notes/private.txt"]),
            (RESUME, EVALUATE, MEMORIZATION)),
    Hostile("stores among the user's files", data_with(root="{outside}/stores"),
            (RESUME, EVALUATE, EXPLORE)),
    Hostile("a device as text", data_with(files=["/dev/zero"]), (RESUME, EVALUATE)),
    Hostile("a copy of the run for a stranger's bucket", mirrored, (RESUME,)),
    Hostile("events beside the run", events_named("../outside"), (RESUME,)),
    Hostile("events above the run", events_named(".."), (RESUME,)),
    Hostile("events of Lightning's logger above the run",
            events_named("..", "lightning.pytorch.loggers.TensorBoardLogger"), (RESUME,)),
    Hostile("YAML aliases", config_with("a: &a [1, 1]\nb: [*a, *a]\n"), (RESUME, EVALUATE)),
    Hostile("deep YAML", config_with("a: " + deep("[")), (RESUME, EVALUATE)),
    Hostile("a Python object in YAML",
            config_with("a: !!python/object/apply:os.system ['touch canary']\n"),
            (RESUME, EVALUATE)),
    Hostile("a pickle", checkpoints_of(pickle.dumps(Sings())), (RESUME, GENERATE, EXPORT)),
    Hostile("a pickle in a checkpoint", checkpoints_of(saved({"state_dict": Sings()})),
            (RESUME, GENERATE, EXPORT)),
    Hostile("a compressed checkpoint", compressed_checkpoints, (RESUME, GENERATE)),
    Hostile("a tensor of 4 TiB", checkpoints_with(huge_tensor), (RESUME, GENERATE)),
    Hostile("a bytearray of a terabyte", checkpoints_of(archive_of(bytearray_of(10**12 - 1))),
            (RESUME, GENERATE)),
    Hostile("a fifo for a checkpoint", instead_of_file("run/checkpoints/last.ckpt", os.mkfifo),
            (RESUME,), refused=False),
    Hostile("a fifo for a summary", instead_of_file("run/summary.json", os.mkfifo),
            (COMPARE,), refused=False),
    Hostile("a fifo for a configuration", instead_of_file("run/config.yaml", os.mkfifo),
            (RESUME, COMPARE), refused=False),
    Hostile("a device for metrics",
            instead_of_file("run/metrics.csv", lambda path: path.symlink_to("/dev/zero")),
            (COMPARE,), refused=False),
    Hostile("a private file for a summary", instead_of_file("run/summary.json", private_link),
            (COMPARE, GENERATE), refused=False),
    Hostile("a deep summary", lambda folder: (folder / "run/summary.json").write_text(deep("[")),
            (COMPARE,), refused=False),
    Hostile("markup in a summary", names_for_pages, (COMPARE,), refused=False),
    Hostile("markup in metrics", metrics_for_pages, (COMPARE,), refused=False),
    Hostile("a manifest that leads outside",
            manifest_with(lambda m: m["shards"].update({"../run": m["shards"]["train"]})),
            (INSPECT,)),
    Hostile("a manifest of a quadrillion tokens", manifest_with(many_tokens), (INSPECT,)),
    Hostile("a deep manifest", deep_manifest,
            (INSPECT,)),
    Hostile("a shard that is a device", shard_outside, (INSPECT,)),
    Hostile("a header of an exabyte", model_file(1 << 60), (IMPORT, START)),
    Hostile("a header that lies", header_that_lies, (IMPORT, START)),
    Hostile("a pickled model", pickled_model, (IMPORT, START)),
    Hostile("a model with code of its own", remote_code, (IMPORT, START)),
    Hostile("a copy with a file above it", copy_with("../../../canary"), (FETCH,)),
    Hostile("a copy with a file at a path of its own", copy_with("/dev/shm/canary"), (FETCH,)),
    Hostile("a job that is a link", job_elsewhere, (SWEEP,)),
)  # fmt: skip
