// Vectors as wide as a register, through the compiler's vector extension (GCC 12 or newer, clang): the same source serves
// AVX-512, AVX, SSE and NEON, float and double. NaN passes through everything here.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class T> struct Vector;
template <> struct Vector<float> {
    typedef float type __attribute__((vector_size(BYTES)));
    typedef float loose __attribute__((vector_size(BYTES), aligned(4), may_alias));
    typedef int32_t bits __attribute__((vector_size(BYTES)));
};
template <> struct Vector<double> {
    typedef double type __attribute__((vector_size(BYTES)));
    typedef double loose __attribute__((vector_size(BYTES), aligned(8), may_alias));
    typedef int64_t bits __attribute__((vector_size(BYTES)));
};
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = BYTES / sizeof(T);

template <class T> inline V<T> load(const T* p) { return *(const typename Vector<T>::loose*)p; }
template <class T> inline void store(T* p, V<T> v) { *(typename Vector<T>::loose*)p = v; }
template <class T> inline V<T> load_once(const T* p) {  // into a register: left alone, GCC loads again at every use
    V<T> v = load(p);
#if defined(__x86_64__)
    asm("" : "+v"(v));
#endif
    return v;
}
template <class T> inline V<T> splat(T s) { return s - V<T>{}; }

// Sums over the lanes of N vectors at once: acc is folded in halves, two vectors into one, until lanes hold sums.
template <class T, int H, int... I> inline V<T> fold(V<T> a, V<T> b, std::integer_sequence<int, I...>) {
    constexpr int L = LANES<T>;
    return __builtin_shufflevector(a, b, ((I & H) ? L + I : I)...) +
           __builtin_shufflevector(a, b, ((I & H) ? L + (I ^ H) : (I ^ H))...);
}
template <class T, int N, int H = LANES<T> / 2> inline void lane_sums(V<T>* acc, T* sums) {
    using All = std::make_integer_sequence<int, LANES<T>>;
    if constexpr (H == 0) {
        for (int j = 0; j < N; j++)
            for (int i = 0; i < LANES<T>; i++) sums[i * N + j] = acc[j][i];
    } else if constexpr (N > 1) {
        for (int j = 0; j < N / 2; j++) acc[j] = fold<T, H>(acc[j], acc[j + N / 2], All{});
        lane_sums<T, N / 2, H / 2>(acc, sums);
    } else {
        acc[0] = fold<T, H>(acc[0], acc[0], All{});
        lane_sums<T, 1, H / 2>(acc, sums);
    }
}
// Where the sum of acc[i] of N lies in `sums`, an array of at least LANES and at least N numbers.
template <class T, int N> constexpr int lane_of(int i) { return N < LANES<T> ? i * (LANES<T> / N) : i; }

// Turns a square of LANES vectors around: lane j of vector i goes to lane i of vector j.
template <class T, int H, int... I> inline void swap_halves(V<T>& a, V<T>& b, std::integer_sequence<int, I...>) {
    constexpr int L = LANES<T>;
    V<T> low = __builtin_shufflevector(a, b, ((I & H) ? L + (I ^ H) : I)...);
    b = __builtin_shufflevector(a, b, ((I & H) ? L + I : (I ^ H))...);
    a = low;
}
template <class T, int H = LANES<T> / 2> inline void transpose(V<T>* square) {
    if constexpr (H > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES<T>; i++)
            if (!(i & H)) swap_halves<T, H>(square[i], square[i + H], std::make_integer_sequence<int, LANES<T>>{});
        transpose<T, H / 2>(square);
    }
}

// e^x = s + s p with s a power of two and p = e^r - 1, |r| ≤ ln(2)/2, by its Taylor series: relative error below 1e-7 in
// float, 2e-16 in double, for e^x and for e^x - 1 = s p + (s - 1). |x| is cut at LIMIT.
template <class T> struct Exponential;
template <> struct Exponential<float> {
    static constexpr int DEGREE = 7, MANTISSA = 23;
    static constexpr int32_t ONE = 0x3f800000;
    static constexpr float LIMIT = 87.0f, MAGIC = 12582912.0f, HIGH = 0.693359375f, LOW = -2.12194440e-4f;
};
template <> struct Exponential<double> {
    static constexpr int DEGREE = 13, MANTISSA = 52;
    static constexpr int64_t ONE = 0x3ff0000000000000;
    static constexpr double LIMIT = 708.0, MAGIC = 6755399441055744.0;
    static constexpr double HIGH = 6.93145751953125e-1, LOW = 1.42860682030941723212e-6;
};
template <class T> inline void exp_parts(V<T> x, V<T>& s, V<T>& p) {
    using E = Exponential<T>;
    x = x > E::LIMIT ? splat<T>(E::LIMIT) : x;
    x = x < -E::LIMIT ? splat<T>(-E::LIMIT) : x;
    V<T> z = x * T(1.44269504088896340736) + E::MAGIC;  // the low bits of z are the nearest whole number
    V<T> n = z - E::MAGIC;
    V<T> r = (x - n * E::HIGH) - n * E::LOW;
    T inverse[E::DEGREE + 1] = {1};
    for (int k = 1; k <= E::DEGREE; k++) inverse[k] = inverse[k - 1] / k;
    V<T> q = splat<T>(inverse[E::DEGREE]);
    for (int k = E::DEGREE - 1; k > 0; k--) q = q * r + inverse[k];
    p = q * r;
    auto bits = ((typename Vector<T>::bits)z << E::MANTISSA) + E::ONE;
    s = (V<T>)bits;
}
template <class T> inline V<T> vexp(V<T> x) {
    V<T> s, p;
    exp_parts<T>(x, s, p);
    return s * p + s;
}
template <class T> inline V<T> vsigmoid(V<T> x) { return T(1) / (T(1) + vexp<T>(-x)); }
template <class T> inline V<T> vtanh(V<T> x) {  // through e^2x - 1, so that small x keep their digits
    V<T> s, p;
    x = x > T(20) ? splat<T>(20) : x;
    x = x < T(-20) ? splat<T>(-20) : x;
    exp_parts<T>(x + x, s, p);
    V<T> e = s * p + (s - T(1));
    return e / (e + T(2));
}
