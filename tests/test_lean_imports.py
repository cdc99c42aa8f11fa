"""A run imports less than its libraries would on their own, and nobody can tell."""

import gc
import subprocess
import sys

import pytest

from minigpt.lean_imports import without_collection

CODE = """
import sys
import minigpt.training.build, lightning.pytorch
assert "torchmetrics.classification" not in sys.modules
assert "scipy.signal" not in sys.modules
assert "minigpt.interop.start" not in sys.modules
import torchmetrics
"""


def check_in_new_process(code):
    done = subprocess.run(
        [sys.executable, "-c", CODE + code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_metric_that_is_asked_for_is_there():
    check_in_new_process(
        "from lightning.pytorch.core.module import Metric\n"
        "assert issubclass(torchmetrics.MeanMetric, Metric)\n"
        "assert torchmetrics.Metric is Metric\n"
        "mean = torchmetrics.MeanMetric()\n"
        "mean.update(2.0)\n"
        "assert mean.compute() == 2.0\n"
        "from torchmetrics import *\n"
        "assert Accuracy.__module__ == 'torchmetrics.classification.accuracy'\n"
        "assert torchmetrics.__version__\n"
    )


def test_a_module_of_metrics_can_be_imported_first():
    check_in_new_process(
        "from torchmetrics.classification import BinaryAccuracy\n"
        "assert issubclass(BinaryAccuracy, torchmetrics.Metric)\n"
        "assert torchmetrics.functional.accuracy\n"
    )


def test_a_version_with_other_modules_is_imported_whole():
    done = subprocess.run(
        [sys.executable, "-c",
         "import sys, minigpt.lean_imports as lean\n"
         "lean._BASES['Metric'] = 'torchmetrics.of_another_version'\n"
         "lean.defer_torchmetrics()\n"
         "from torchmetrics import Metric, MeanMetric\n"
         "assert issubclass(MeanMetric, Metric)\n"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_imports_are_not_collected_and_later_objects_are(monkeypatch):
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    with without_collection():
        assert not gc.isenabled()
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), without_collection():
        raise ImportError
    assert gc.isenabled()
