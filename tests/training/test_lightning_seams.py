"""What Lightning does not promise still is as lightning_seams.py takes it to be."""

import signal

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from minigpt.training import lightning_seams as seams
from minigpt.training.build import quieten_lightning

BATCHES = 5


class Loader:
    """Five batches; records where training stands when they are first drawn."""

    def __init__(self) -> None:
        self.trainer = None
        self.positions = []

    def __len__(self):
        return BATCHES

    def __iter__(self):
        self.positions.append(seams.position(self.trainer))
        _, start = self.positions[-1]
        for number in range(start, BATCHES):
            yield torch.full((2, 1), float(number))


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.batches = []
        self.validated_at = []

    def training_step(self, batch, batch_idx):
        self.batches.append((self.current_epoch, batch_idx, int(batch[0])))
        return self.layer(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.validated_at.append(self.global_step)

    def configure_optimizers(self):
        self.counted = seams.count_training_batches(self.trainer)
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class SaveAt(pl.Callback):
    def __init__(self, path, epoch, batch):
        self.path, self.place = path, (epoch, batch)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.place:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, module):
        if (trainer.current_epoch, None) == self.place:
            trainer.save_checkpoint(self.path)


@pytest.fixture
def fit(tmp_path):
    def run(max_epochs=2, callbacks=(), prepare=None, ckpt_path=None, **arguments):
        quieten_lightning()
        trainer = pl.Trainer(
            max_epochs=max_epochs, callbacks=list(callbacks), logger=False, accelerator="cpu",
            enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
            default_root_dir=tmp_path, **{"enable_progress_bar": False, **arguments},
        )  # fmt: skip
        if prepare:
            prepare(trainer)
        loader, line = Loader(), Line()
        loader.trainer = trainer
        trainer.fit(line, loader, [torch.zeros(2, 1)], ckpt_path=ckpt_path, weights_only=True)
        return trainer, line, loader

    return run


def test_the_position_is_right_when_an_epoch_draws_its_first_batch(fit):
    _, line, loader = fit()
    assert loader.positions == [(0, 0), (1, 0)]
    assert line.batches == [(e, b, b) for e in (0, 1) for b in range(BATCHES)]


@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (0, 4), (1, 0), (1, 3)])
def test_the_position_is_right_after_a_resume(fit, tmp_path, epoch, batch):
    path = tmp_path / "last.ckpt"
    _, whole, _ = fit(callbacks=[SaveAt(path, epoch, batch)])
    _, rest, loader = fit(ckpt_path=path)
    assert loader.positions[0] == (epoch, batch)
    assert rest.batches == whole.batches[epoch * BATCHES + batch :]


def test_a_checkpoint_of_an_epochs_end_names_the_epochs_behind_it(fit, tmp_path):
    path = tmp_path / "last.ckpt"
    fit(callbacks=[SaveAt(path, 1, None)])
    assert seams.epochs_completed(torch.load(path, weights_only=True)) == 2
    _, rest, loader = fit(max_epochs=3, ckpt_path=path)
    assert loader.positions[0] == (2, 0)
    assert len(rest.batches) == BATCHES


def test_the_batches_of_an_epoch_are_counted_before_training(fit):
    assert fit(max_epochs=1)[1].counted == BATCHES
    assert fit(max_epochs=1, limit_train_batches=3)[1].counted == 3


class ValidateAfter(pl.Callback):
    def __init__(self, *steps):
        self.steps = steps

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        seams.validate_after_batch(trainer, trainer.global_step + 1 in self.steps)


def test_a_trainer_told_to_count_steps_ends_with_them_and_validates_where_it_is_told(fit):
    trainer, line, _ = fit(
        prepare=lambda trainer: seams.end_after_steps(trainer, 8), callbacks=[ValidateAfter(3, 8)]
    )
    assert trainer.global_step == 8
    assert line.validated_at == [3, 8]


class Record(pl.Callback):
    """What the seams say at the end of each batch and of each epoch."""

    def __init__(self):
        self.batches, self.epochs = [], []

    def on_train_batch_end(self, trainer, *_):
        self.batches.append((seams.batches_done(trainer), seams.at_step_boundary(trainer)))

    def on_train_epoch_end(self, trainer, module):
        self.epochs.append(seams.epoch_is_cut_short(trainer))


def test_a_step_ends_with_its_last_batch_or_with_the_epoch(fit):
    record = Record()
    fit(max_epochs=1, callbacks=[record], accumulate_grad_batches=2)
    assert record.batches == [(1, False), (2, True), (3, False), (4, True), (5, True)]


@pytest.mark.parametrize(("max_steps", "cut"), [(4, [True]), (5, [False]), (7, [False, True])])
def test_an_epoch_with_batches_left_is_cut_short(fit, max_steps, cut):
    record = Record()
    fit(max_epochs=-1, max_steps=max_steps, callbacks=[record])
    assert record.epochs == cut


class Settle(pl.Callback):
    """What LitGPT does with every checkpoint."""

    def on_save_checkpoint(self, trainer, module, checkpoint):
        seams.settle_position(trainer, checkpoint)


@pytest.mark.parametrize("cut", [3, 5, 7])
def test_a_settled_checkpoint_of_an_epoch_cut_short_continues_it(fit, tmp_path, cut):
    path = tmp_path / "last.ckpt"
    _, whole, _ = fit(max_epochs=-1, max_steps=12)
    epoch = (cut - 1) // BATCHES
    fit(max_epochs=-1, max_steps=cut, callbacks=[Settle(), SaveAt(path, epoch, None)])
    checkpoint = torch.load(path, weights_only=True)
    assert seams.batches_done_in(checkpoint) == cut % BATCHES
    assert seams.epochs_completed(checkpoint) == cut // BATCHES
    trainer, rest, _ = fit(max_epochs=-1, max_steps=12, callbacks=[Settle()], ckpt_path=path)
    assert rest.batches == whole.batches[cut:]
    assert rest.validated_at == [step for step in whole.validated_at if step > cut]
    # Counted over all starts, as an undisturbed run's.
    assert trainer.fit_loop.total_batch_idx == 11


def test_tensorboard_drops_what_comes_after_a_step(tmp_path):
    def log(name, steps, last_step=None):
        logger = TensorBoardLogger(tmp_path, "", "", filename_suffix=name)
        if last_step is not None:
            seams.hide_later_events(logger, last_step)
        for step in steps:
            logger.log_metrics({"loss": step}, step)
        logger.finalize("success")

    log("a", range(1, 9))
    log("b", range(5, 8), last_step=4)
    for path in tmp_path.glob("events*"):
        path.rename(tmp_path / f"events.out.tfevents.{path.name[-1]}")  # one second, one order
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7]


class Handlers(pl.Callback):
    """Records who handles SIGTERM in the middle of training."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.sigterm = signal.getsignal(signal.SIGTERM)


def test_lightning_can_be_kept_from_handling_signals(fit):
    before, handlers = signal.getsignal(signal.SIGTERM), Handlers()
    fit(max_epochs=1, callbacks=[handlers])
    assert handlers.sigterm is not before  # once this fails, the seam is needed no more
    fit(max_epochs=1, callbacks=[handlers], prepare=seams.leave_signals_alone)
    assert handlers.sigterm is before
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)  # the name that is replaced


class Noting(seams.LeanModule, Line):
    """Records the hook that Lightning notes."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = []

    def on_train_batch_start(self, batch, batch_idx):
        self.hooks.append(self._current_fx_name)


def test_lightning_notes_the_hook_and_searches_no_parameters_for_it(monkeypatch, fit):
    searched = []
    search = nn.Module.__setattr__

    def record(module, name, value):
        searched.append(name)
        search(module, name, value)

    monkeypatch.setattr(nn.Module, "__setattr__", record)
    monkeypatch.setattr(f"{__name__}.Line", Noting)
    _, line, _ = fit()
    assert line.hooks == ["on_train_batch_start"] * 2 * BATCHES
    assert line._current_fx_name is None
    assert "layer" in searched
    assert "_current_fx_name" not in searched


def test_without_a_profiler_no_hook_makes_a_generator(monkeypatch, fit):
    managers = {}
    profile = seams.NoProfiler.profile

    def record(self, name):
        return managers.setdefault(name, profile(self, name))

    monkeypatch.setattr(seams.NoProfiler, "profile", record)
    _, line, _ = fit(profiler=seams.NoProfiler())
    assert len(line.batches) == 2 * BATCHES
    assert len(managers) > BATCHES
    assert len({id(manager) for manager in managers.values()}) == 1


class Bar(seams.NamedProgressBar):
    """Records the name that each epoch's bar has."""

    def __init__(self):
        super().__init__()
        self.names = []

    def epoch_name(self, epoch):
        return f"round {epoch}"

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
        self.names.append(self.train_progress_bar.description)


def test_the_progress_bar_has_the_name_that_is_given_to_an_epoch(fit):
    bar = Bar()
    fit(callbacks=[bar], enable_progress_bar=True, limit_train_batches=1)
    assert bar.names == ["round 0", "round 1"]


class Breaks(pl.Callback):
    def state_dict(self):
        return {"a": 1}

    def load_state_dict(self, state_dict):
        raise KeyError("a part")


@pytest.mark.parametrize("change", [{"optimizer_states": None}, {}])
def test_what_goes_wrong_when_a_checkpoint_is_restored_is_explained(fit, tmp_path, change):
    path = tmp_path / "last.ckpt"
    callbacks = [] if change else [Breaks()]
    fit(callbacks=[SaveAt(path, 0, 1), *callbacks])
    torch.save({**torch.load(path, weights_only=True), **change}, path)

    def prepare(trainer):
        seams.explain_restoring(trainer, lambda error: RuntimeError(type(error).__name__))

    with pytest.raises(RuntimeError, match="TypeError" if change else "KeyError"):
        fit(ckpt_path=path, callbacks=callbacks, prepare=prepare)


def test_a_fresh_trainer_has_the_counts_that_a_checkpoint_has(fit, tmp_path):
    path = tmp_path / "last.ckpt"
    trainer, _, _ = fit(callbacks=[SaveAt(path, 0, 1)])
    saved = torch.load(path, weights_only=True)["loops"]["fit_loop"]
    assert seams.fit_progress(trainer).keys() == saved.keys()
