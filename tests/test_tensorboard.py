"""What TensorBoard's own server shows of a sweep, asked over HTTP."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest

NAMES = ["0-lr=0.001", "1-lr=0.01"]


@pytest.fixture
def ask(tiny, type_train, tmp_path):
    """Asks a server of a sweep of two runs, once it has read them."""
    sweep = [*tiny, "trainer.max_epochs=2", "optimizer.lr=1e-3,1e-2", "hydra.sweep.dir=sweep"]
    assert type_train("-m", *sweep).code == 0
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", "sweep", "--port", "0",
         "--host", "127.0.0.1", "--load_fast", "false"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stderr is not None
    address = next(filter(None, (re.search(r"http://\S+?/", line) for line in server.stderr)))[0]

    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}data/{path}", data, headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    deadline = time.monotonic() + 120
    while set(NAMES) - set(ask("runs")):
        assert time.monotonic() < deadline, "TensorBoard has not read the runs"
    yield ask
    server.kill()
    server.communicate()


def test_scalars_layout_hparams_and_samples_are_all_there(ask):
    tags = ask("plugin/scalars/tags")
    for name in NAMES:  # the runs are told apart by what is swept
        assert tags[name].keys() >= {"train/loss", "val/loss", "lr", "grad_norm", "hp/val_loss"}
        steps = [step for _, step, _ in ask(f"plugin/scalars/scalars?run={name}&tag=val/loss")]
        assert len(steps) == 2

    (category,) = ask("plugin/custom_scalars/layout")["category"]
    charts = {chart["title"]: chart["multiline"]["tag"] for chart in category["chart"]}
    assert charts["loss, training against held-out"] == ["train/loss$", "val/loss"]
    assert charts["bits per byte of held-out text"] == ["val/bits_per_byte"]
    assert len(charts) == 6

    experiment = ask("plugin/hparams/experiment", {"experimentName": ""})
    (metric,) = [m for m in experiment["metricInfos"] if m["name"]["tag"] == "hp/val_loss"]
    assert metric
    groups = ask(
        "plugin/hparams/session_groups",
        {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS",
         "STATUS_FAILURE", "STATUS_RUNNING"], "colParams": [], "startIndex": 0, "sliceSize": 10},
    )["sessionGroups"]  # fmt: skip
    rates = {group["hparams"]["optimizer.lr"] for group in groups}
    assert rates == {1e-3, 1e-2}
    for group in groups:
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert 0 < values["hp/val_loss"] < 4
        assert 0 < values["hp/bits_per_byte"] < 8
        assert values["hp/tokens_per_second"] > 0

    texts = ask("plugin/text/tags")
    for name in NAMES:
        (tag,) = texts[name]
        assert len(ask(f"plugin/text/text?run={name}&tag={tag}")) == 2  # one an epoch
