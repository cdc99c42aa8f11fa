"""What a token is worth that was trained on before.

Shapes: K numbers of tokens.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

# Repetitions after which a text is worn to a 1/e of its worth: R* of Muennighoff et al., 2023,
# fitted to networks of up to 9 billion parameters.
DECAY = 15.39


def effective_tokens(tokens: Float[ndarray, "K"], unique: float) -> Float[ndarray, "K"]:
    """Fresh tokens that are worth as much as `tokens` of a text that has `unique` of them.

    D' = U + U R* (1 - exp(-R / R*)) with R = D / U - 1 repetitions (Muennighoff et al., 2023,
    "Scaling Data-Constrained Language Models", arXiv:2305.16264).
    """
    repetitions = np.maximum(0.0, tokens / unique - 1)
    repeated = unique - unique * DECAY * np.expm1(-repetitions / DECAY)
    return np.where(repetitions > 0, repeated, tokens)
