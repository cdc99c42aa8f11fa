"""Text that the model writes at each validation, so that progress can be read."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from minigpt.errors import UserError
from minigpt.model.generate import generate
from minigpt.model.gpt import GPT
from minigpt.model.sampling import Sampling
from minigpt.runs.summary import Sample
from minigpt.tokens.tokenizer import from_spec
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.processes import is_first
from minigpt.training.sharding import whole_network


class TextSamples(pl.Callback):
    """Continues the start of the training text after each validation.

    Sampling has its own random state, so it never changes the losses of a run.
    prompt_tokens: length of the prompt; new_tokens: length of what the model writes.
    """

    def __init__(self, prompt_tokens: int, new_tokens: int, temperature: float) -> None:
        if prompt_tokens < 1 or new_tokens < 1:
            raise UserError("callbacks.samples: prompt_tokens and new_tokens must be at least 1")
        self.prompt_tokens = prompt_tokens
        self.new_tokens = new_tokens
        self.sampling = Sampling(temperature=temperature)
        self.latest: dict[str, str] | None = None  # prompt and text

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = trainer.datamodule
        assert isinstance(data, TokenDataModule)
        self.tokenizer = from_spec(data.store.manifest.tokenizer)
        self.prompt = data.store.tokens("train")[: self.prompt_tokens].tolist()

    def state_dict(self) -> dict[str, dict[str, str] | None]:
        return {"latest": self.latest}

    def load_state_dict(self, state_dict: dict[str, dict[str, str] | None]) -> None:
        latest = state_dict["latest"]
        self.latest = None if latest is None else Sample.model_validate(latest).model_dump()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(pl_module, LitGPT):
            return
        net = whole_network(pl_module.net)
        if is_first(trainer):
            self._write(trainer, net, pl_module.seed)

    def _write(self, trainer: pl.Trainer, net: GPT, seed: int) -> None:
        prompt = torch.tensor([self.prompt], device=net.head.weight.device)
        ids = generate(net, prompt, self.new_tokens, self.sampling, seed)
        self.latest = {
            "prompt": self.tokenizer.decode(self.prompt),
            "text": self.tokenizer.decode(ids[0, len(self.prompt) :].tolist()),
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                text = _as_written(f"{self.latest['prompt']}|{self.latest['text']}")
                logger.experiment.add_text("sample", text, trainer.global_step)


def _as_written(text: str) -> str:
    """Text as a block that TensorBoard shows as it is, rather than as Markdown.

    An indented block needs no fence that the text itself could close.
    """
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
