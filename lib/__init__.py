"""The machinery of *Opening the Black Box*: batched kernels, one module a paper, and what a page shows."""
