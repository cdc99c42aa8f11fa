"""Every command and writer that is failed at every point."""

from tests.faults.run_scenarios import Sweep, Training
from tests.faults.scenarios import (
    Checkpoint,
    Export,
    Metrics,
    Preparation,
    PreparationByWorkers,
    Report,
    Tokenizer,
    Writer,
)

WRITERS = [
    Checkpoint("checkpoint", "2", earlier=["1"]),
    Metrics("metrics"),
    Writer("summary", "2", earlier=["1"]),
    Writer("failure"),
]
BARE = Training("train.py", "~logger.tensorboard")
COMMANDS = [Preparation(), Tokenizer(), Export("hf"), Report(), BARE]
LONG = [
    *COMMANDS,
    PreparationByWorkers(),
    Export("onnx"),
    Export("gguf"),
    Training("train.py, files of TensorBoard", only="events.out"),
    Sweep("train.py -m", "~logger.tensorboard", "seed=1,2"),
]

# Of so many calls one is failed in `make test`; `make soak` fails all of them with every error.
ONE_OF = {"minigpt prepare": 3, "minigpt tokenizer": 2, "minigpt compare": 5, "train.py": 29}
