"""What the trainer is built with where the configuration leaves it to the machine."""

import pytest

from minigpt.config import compose_config
from minigpt.training import build


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_cpu_trains_in_bfloat16_where_it_has_the_instructions(
    has, precision, tmp_path, monkeypatch
):
    monkeypatch.setattr(build, "has_bfloat16_instructions", lambda: has)
    cfg = compose_config([f"run_dir={tmp_path}", "trainer.accelerator=cpu"])
    trainer, _ = build.make_trainer(cfg, [], [])
    assert trainer.precision == precision
