"""A sweep on a Ray cluster of two nodes, one of which is lost."""

import contextlib
import os
import subprocess
import sys

import pytest

from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.conftest import REPOSITORY, run_folders

pytest.importorskip("ray")


@pytest.fixture
def nodes(monkeypatch):
    """A head with one core, and a second node with another."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield cluster, second
    cluster.shutdown()


def test_a_sweep_that_loses_a_node_ends_complete(nodes, tiny, tmp_path):
    cluster, second = nodes
    sweep = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), "-m", *tiny, "hydra/launcher=ray",
         f"hydra.launcher.ray.init.address={cluster.address}",
         # The launcher names a size, which Ray refuses for a cluster that runs already.
         "+hydra.launcher.ray.init.object_store_memory=null",
         "seed=1,2,3", "trainer.max_epochs=12"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while sum(1 for _ in tmp_path.glob("outputs/**/last.ckpt")) < 2:
        with contextlib.suppress(subprocess.TimeoutExpired):
            sweep.wait(0.1)
        assert sweep.returncode is None, sweep.communicate()[0]
    cluster.remove_node(second, allow_graceful=False)
    out, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, out
    runs = [RunFolder(folder).read_summary() for folder in run_folders(tmp_path)]
    assert [run.status for run in runs] == [Status.FINISHED] * 3
    # The lost node's job went on from its checkpoint on the other one.
    assert sum(len(run.resumed_by) for run in runs) == 1
