// What Python calls, through ctypes, and the page, compiled to WebAssembly: plain C functions, so that nothing here depends
// on a version of torch or Python.
#include "draws.h"
#include "embedding.h"
#include "mlp.h"
#include "rate.h"
#include "rnn.h"

#ifdef __wasm__  // which has no double precision, to be small, and hands out memory
#define EXPORT(name) __attribute__((export_name(#name)))
#define KERNEL(name, Job, train) \
    EXPORT(name##_float) void name##_float(const Job* q) { train<float>(*q); }
#else
#define EXPORT(name)
#define KERNEL(name, Job, train)                              \
    void name##_float(const Job* q) { train<float>(*q); }   \
    void name##_double(const Job* q) { train<double>(*q); }
#endif

extern "C" {
KERNEL(embedding, Embedding, train_embedding)
KERNEL(mlp, Mlp, train_mlp)
KERNEL(minibatches, Mlp, train_mlp)
KERNEL(rnn, Rnn, train_rnn)
KERNEL(rate, Rate, train_rate)

EXPORT(lanes_float) int64_t lanes_float() { return LANES<float>; }  // points must come in multiples of this

// `count` numbers in [0, 1) with 53 bits, from `place` on.
EXPORT(uniform) void uniform(uint64_t seed, uint64_t place, int64_t count, double* out) {
    for (int64_t i = 0; i < count; i++) out[i] = (draw(seed, place + i) >> 11) * 0x1p-53;
}
// `count` whole numbers from 0 to below - 1, with replacement, from `place` on.
EXPORT(picks) void picks(uint64_t seed, uint64_t place, int64_t count, int64_t below, int64_t* out) {
    for (int64_t i = 0; i < count; i++) out[i] = draw(seed, place + i) % below;
}
#ifdef __wasm__
EXPORT(take) void* take(int64_t bytes) { return std::aligned_alloc(BYTES, (bytes + BYTES - 1) / BYTES * BYTES); }
EXPORT(release) void release(void* block) { std::free(block); }
#endif
}
