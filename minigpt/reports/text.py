"""Figures as text; an unknown figure is empty."""

import math
from typing import Any


def number(value: float | None, form: str, unit: str = "") -> str:
    """A formatted number, whole if the format is ","; empty for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return ""
    return format(int(value) if form == "," else value, form) + unit


def operations(value: float) -> str:
    """Floating-point operations as one types them: 1.23e15."""
    return f"{value:.3g}".replace("e+", "e")


def with_error(value: float | None, stderr: float | None) -> str:
    """1.234 ± 0.012; without the second where it is unknown."""
    error = number(stderr, ".3f")
    return number(value, ".3f") + (f" ± {error}" if error else "")


def duration(seconds: float) -> str:
    """m:ss, or h:mm:ss."""
    if not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def setting(value: Any) -> str:
    """A config value as text."""
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def shortened(text: str, most: int = 40) -> str:
    """A text too long for a table is cut at its start: paths differ at their ends."""
    return text if len(text) <= most else f"...{text[3 - most :]}"


def short_perplexity(perplexity: float | None) -> str:
    """Two decimals below 100, else a whole number."""
    if perplexity is None or not math.isfinite(perplexity):
        return ""
    return f"{perplexity:.2f}" if perplexity < 100 else f"{perplexity:,.0f}"


def finite(value: Any) -> Any:
    """None for a float that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
