"""Early stopping whose settings come from the config, also in a resumed run."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

from minigpt.training.resume_content import check_like


class EarlyStopping(LightningEarlyStopping):
    """Stops once the monitored metric has not improved for `patience` validations.

    Differs from Lightning's in three things. A resumed run uses its config's patience instead of
    the checkpoint's. It looks after each validation and nowhere else, so an epoch without one does
    not count. A run that has stopped stays stopped when it is resumed with the same patience.
    """

    def __init__(self, monitor: str, patience: int, **arguments: Any) -> None:
        super().__init__(monitor, patience=patience, check_on_train_epoch_end=False, **arguments)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        check_like(state_dict, self.state_dict(), "callbacks EarlyStopping")
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience
