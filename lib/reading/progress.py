"""Progress on anything over a few seconds: in the terminal and in Jupyter, gone when done, never in the page."""

import sys

from tqdm import tqdm


def progress(label):
    """A wrapper for an iterable that shows how far it is and how long it will take.

    It writes to standard error: papermill forwards that to the terminal, JupyterLab shows it below the cell, and the
    book's pages leave it out (`stderr_output: remove`).
    """
    return lambda steps: tqdm(steps, desc=label, file=sys.stderr, leave=False, mininterval=1.0, delay=1.0)
