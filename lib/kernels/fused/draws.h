// Random numbers that Python (lib/kernels/draws.py) and the page draw alike: a number depends on a seed and its place alone.
#pragma once

#include <cstdint>

// The number at `place` of the stream `seed`, 64 bits: SplitMix64 (Steele, Lea and Flood 2014) as a counter-based generator,
// its state after place + 1 steps from a start that the seed is scrambled to.
inline uint64_t scramble(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
inline uint64_t draw(uint64_t seed, uint64_t place) {
    constexpr uint64_t STEP = 0x9e3779b97f4a7c15;
    return scramble(scramble(seed + STEP) + (place + 1) * STEP);
}
