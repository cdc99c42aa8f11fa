"""Small decoder-only GPTs, trained, compared and understood."""

from minigpt.version import __version__ as __version__
