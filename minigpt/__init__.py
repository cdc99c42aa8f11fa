"""Small decoder-only GPTs, trained, compared and understood."""

__version__ = "0.1.0"
