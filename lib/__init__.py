"""The machinery of *Opening the Black Box*: batched kernels, one module a paper, and what a page shows."""

import gc

# Half a million objects of torch and matplotlib stay for good; looking for rubbish among them took a second of each chapter.
gc.set_threshold(50_000, 20, 50)
