"""A disk that refuses TensorBoard's files is one line that names them."""

import errno
import os

import pytest
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from minigpt.errors import UserError
from minigpt.training.tensorboard_logger import TensorBoardEvents


def test_an_error_in_the_first_event_file_and_in_one_opened_later_is_one_line(
    tmp_path, monkeypatch
):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for closed in (False, True):
        logger = TensorBoardEvents(tmp_path, "", "", default_hp_metric=False)
        logger.log_metrics({"loss": 1.0}, 1)
        if closed:
            logger.finalize("success")
            logger.log_metrics({"loss": 1.0}, 2)  # into a file of its own
        with monkeypatch.context() as patch:
            patch.setattr(EventFileWriter, "add_event", fail)
            with pytest.raises(UserError, match="events.out.tfevents: No space left on device"):
                logger.log_metrics({"loss": 1.0}, 3)
            logger.finalize("failed")
    assert not (tmp_path / "hparams.yaml").exists()
