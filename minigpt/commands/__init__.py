import os

os.environ.pop("MPLBACKEND", None)  # a notebook's may not exist here; no window is ever opened
