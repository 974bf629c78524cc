"""The speed of the kernels against their peers and against the limit of the machine. `python -m benchmarks.run`."""
