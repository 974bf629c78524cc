"""Whole training runs fused into one call: C++ on the CPU (`cpp`), Triton on a GPU (`triton_kernels`). Sources beside."""
