"""Which backend matplotlib uses while one of our commands runs."""

import os


def ignore_notebook_backend() -> None:
    """Drop MPLBACKEND, which a notebook sets to a backend that may be missing here.

    matplotlib reads it when it is imported, and torchmetrics imports matplotlib before our plots
    do. The plots need no backend, since they are drawn into files.
    """
    os.environ.pop("MPLBACKEND", None)
