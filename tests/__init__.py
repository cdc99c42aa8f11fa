"""Every test runs with the shapes of minigpt/model checked at each call."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# GPT is left out: beartype would check its config before the config's own messages can.
CHECKED = (
    "attention", "bigrams", "block", "decoder", "feed_forward", "generate", "loss", "norms",
    "positions", "rotary", "sampling", "shortcut",
)  # fmt: skip

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float

install_import_hook([f"minigpt.model.{name}" for name in CHECKED], "tests.check_types")
