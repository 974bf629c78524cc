"""Whole training runs fused into one call: C++ on the CPU (`cpp`), Triton on a GPU (`triton_mlp`). Sources lie beside."""
