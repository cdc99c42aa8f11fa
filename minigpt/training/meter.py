"""Mean loss over tokens, summed on the device and read only when somebody asks."""

import torch
from torch import Tensor


class LossMeter:
    """Sums losses weighted by their tokens; float64, so that an epoch's mean keeps its digits."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.totals: Tensor | None = None  # (2): nats, tokens

    def add(self, loss: Tensor, tokens: Tensor) -> None:
        """loss: mean over tokens; tokens: how many they were. Both scalars; nothing is copied."""
        dtype = _dtype(loss.device)
        update = torch.stack((loss.detach().to(dtype) * tokens, tokens.to(dtype)))
        self.totals = update if self.totals is None else self.totals + update

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
        self.totals = (
            None if totals is None else torch.tensor(totals, dtype=_dtype(device), device=device)
        )


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
