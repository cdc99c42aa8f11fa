"""Mean loss over tokens, summed on the device and read only when somebody asks."""

import torch
from torch import Tensor


class LossMeter:
    """Sums nats and tokens."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.totals: Tensor | None = None  # (2): nats, tokens

    def add(self, spent: Tensor) -> None:
        """spent: (2) nats and tokens of a batch."""
        self.totals = spent if self.totals is None else self.totals + spent

    def tokens(self) -> int:
        return 0 if self.totals is None else int(self.totals[1].item())

    def mean(self) -> float:
        """Nats a token; nan before the first."""
        if self.totals is None:
            return float("nan")
        nats, tokens = self.totals.tolist()
        return nats / tokens if tokens else float("nan")

    def state_dict(self) -> dict[str, list[float] | None]:
        return {"totals": None if self.totals is None else self.totals.tolist()}

    def load_state_dict(self, state: dict[str, list[float] | None], device: torch.device) -> None:
        totals = state["totals"]
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.totals = None if totals is None else torch.tensor(totals, dtype=dtype, device=device)
