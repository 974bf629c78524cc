"""`python -m lib.papers.truth [SEED…]` trains stored toys again, all if none is named, and writes them to `checkpoints/`."""

import sys

from tqdm import tqdm

from .llama import save, teach

STORED, STEPS = (1, 2, 3, 4, 5), 1900


def main(arguments):
    for seed in map(int, arguments) if arguments else STORED:
        trained = teach([seed], STEPS, progress=tqdm)
        save(trained)
        print(f"toy {seed}: final effects {[round(x, 2) for x in trained.effects[-1, 0].tolist()]}")


if __name__ == "__main__":
    main(sys.argv[1:])
