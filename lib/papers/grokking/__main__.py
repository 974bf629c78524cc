"""`python -m lib.papers.grokking` trains the paper's networks for exclusive or again, and writes `xor.npz`."""

import numpy as np
from tqdm import tqdm

from .xor import RECORD, run

if __name__ == "__main__":
    np.savez_compressed(RECORD, **run(tqdm))
