// One small MLP on a block of points, points along the lanes: a matrix of activations has a row for each feature, its
// points next to each other, and `stride` numbers between rows. Point counts are multiples of LANES, padding included.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "simd.h"

#define UNROLL _Pragma("GCC unroll 16")  // so that tiles live in registers

// out[r][p] = sum_k A[r * row + k * column] x[k][p], to which is added bias[r] (LAYER) or what out holds (ADD), or which is
// multiplied by what out holds (SCALE).
enum Mode { LAYER, WRITE, ADD, SCALE };
template <class T> struct Product {
    int rows, depth, points;
    const T* A;
    long row, column;
    const T* bias;
    const T* x;
    long x_stride;
    T* out;
    long out_stride;
};

template <class T, int M, int R, int C> inline void product_tile(const Product<T> q, int r, int p) {
    V<T> acc[R][C];
    T* out = q.out + r * q.out_stride + p;
    UNROLL for (int i = 0; i < R; i++)
        UNROLL for (int j = 0; j < C; j++)
            acc[i][j] = M == LAYER ? splat<T>(q.bias[r + i])
                        : M == ADD ? load<T>(out + i * q.out_stride + j * LANES<T>)
                                   : V<T>{};
    const T *A = q.A + r * q.row, *x = q.x + p;
    for (int k = 0; k < q.depth; k++, A += q.column, x += q.x_stride) {
        V<T> v[C];
        UNROLL for (int j = 0; j < C; j++) v[j] = load_once<T>(x + j * LANES<T>);
        UNROLL for (int i = 0; i < R; i++)
            UNROLL for (int j = 0; j < C; j++) acc[i][j] += A[i * q.row] * v[j];
    }
    UNROLL for (int i = 0; i < R; i++)
        UNROLL for (int j = 0; j < C; j++) {
            T* at = out + i * q.out_stride + j * LANES<T>;
            store<T>(at, M == SCALE ? acc[i][j] * load<T>(at) : acc[i][j]);
        }
}
template <class T, int M, int C> void product_strip(const Product<T>& q, int p) {
    int r = 0;
    for (; r + 4 <= q.rows; r += 4) product_tile<T, M, 4, C>(q, r, p);
    for (; r + 2 <= q.rows; r += 2) product_tile<T, M, 2, C>(q, r, p);
    for (; r < q.rows; r++) product_tile<T, M, 1, C>(q, r, p);
}
template <class T, int M> void product(const Product<T>& q) {
    constexpr int L = LANES<T>;
    int p = 0;
    for (; p + 4 * L <= q.points; p += 4 * L) product_strip<T, M, 4>(q, p);
    if (p + 2 * L <= q.points) product_strip<T, M, 2>(q, p), p += 2 * L;
    if (p < q.points) product_strip<T, M, 1>(q, p);
}

constexpr int TURNED = 128;  // columns turned around at a time

// dW[r][c] += sum_p delta[r][p] x[c][p] and db[r] += sum_p delta[r][p], where `ones` stands in as a last row of x.
// Beyond the last row and column a tile reads some row twice and drops the sum.
template <class T, int R, int C>
void outer_tiles(int rows, int inputs, int points, const T* delta, long delta_stride, const T* x, long x_stride,
                 const T* ones, T* dW, T* db) {
    T sums[std::max(R * C, LANES<T>)];
    for (int r = 0; r < rows; r += R)
        for (int c = 0; c <= inputs; c += C) {
            const T *d[R], *a[C];
            UNROLL for (int i = 0; i < R; i++) d[i] = delta + std::min(r + i, rows - 1) * delta_stride;
            UNROLL for (int j = 0; j < C; j++) a[j] = c + j < inputs ? x + (c + j) * x_stride : ones;
            V<T> acc[R * C] = {};
            for (int p = 0; p < points; p += LANES<T>) {
                V<T> v[C];
                UNROLL for (int j = 0; j < C; j++) v[j] = load_once<T>(a[j] + p);
                UNROLL for (int i = 0; i < R; i++) {
                    V<T> u = load_once<T>(d[i] + p);
                    UNROLL for (int j = 0; j < C; j++) acc[i * C + j] += u * v[j];
                }
            }
            lane_sums<T, R * C>(acc, sums);
            for (int i = 0; i < R && r + i < rows; i++)
                for (int j = 0; j < C && c + j <= inputs; j++)
                    (c + j < inputs ? dW[(r + i) * (long)inputs + c + j] : db[r + i]) += sums[lane_of<T, R * C>(i * C + j)];
        }
}
// The same for wide layers and few points: x is turned around, some points at a time, and multiplied from the left. Where whole vectors
// do not end with a row of x, `ones` takes the next place, and sums for both are made apart. `room` as room_for_outer says.
template <class T> long whole(long count) { return (count + LANES<T> - 1) / LANES<T> * LANES<T>; }
template <class T> long room_for_outer(long rows, long inputs) {
    return whole<T>(inputs) * (TURNED + (inputs % LANES<T> ? rows : 0));
}
template <class T>
void outer_wide(int rows, int inputs, int points, const T* delta, long delta_stride, const T* x, long x_stride,
                const T* ones, T* dW, T* db, T* room) {
    constexpr int L = LANES<T>;
    const int columns = whole<T>(inputs);
    const bool apart = columns > inputs;
    T* sums = room + TURNED * columns;
    if (apart) std::fill(sums, sums + rows * (long)columns, T(0));
    for (int p = 0; p < points; p += TURNED) {
        int depth = std::min(TURNED, points - p);
        for (int c = 0; c < columns; c += L)
            for (int k = 0; k < depth; k += L) {
                V<T> square[L];
                UNROLL for (int i = 0; i < L; i++)
                    square[i] = load<T>((c + i < inputs ? x + (c + i) * x_stride : ones) + p + k);
                transpose<T>(square);
                UNROLL for (int i = 0; i < L; i++) store<T>(room + (k + i) * (long)columns + c, square[i]);
            }
        product<T, ADD>({rows, depth, columns, delta + p, delta_stride, 1, nullptr, room, columns, apart ? sums : dW,
                         columns});
    }
    if (!apart) return outer_tiles<T, 8, 2>(rows, 0, points, delta, delta_stride, x, x_stride, ones, dW, db);
    for (int r = 0; r < rows; r++, sums += columns) {
        for (int c = 0; c < inputs; c++) dW[r * (long)inputs + c] += sums[c];
        db[r] += sums[inputs];
    }
}
template <class T>
void outer(int rows, int inputs, int points, const T* delta, long delta_stride, const T* x, long x_stride, const T* ones,
           T* dW, T* db, T* room) {
    bool wide = rows >= 16 && inputs >= LANES<T> && points <= 2 * TURNED && 4 * whole<T>(inputs) <= 5 * inputs;
    auto tiles = wide ? nullptr
                 : rows == 1 ? (inputs < 4 ? outer_tiles<T, 1, 4> : outer_tiles<T, 1, 16>)
                 : inputs == 1 ? (rows == 2 ? outer_tiles<T, 2, 2> : outer_tiles<T, 8, 2>)
                               : outer_tiles<T, 4, 4>;
    if (tiles) tiles(rows, inputs, points, delta, delta_stride, x, x_stride, ones, dW, db);
    else outer_wide<T>(rows, inputs, points, delta, delta_stride, x, x_stride, ones, dW, db, room);
}

// An activation turns pre-activations a into activations, and leaves its slopes in s.
enum Activation { SILU, RELU, LEAKY_RELU, TANH, GELU };

// erfc(z) for z ≥ 0 as t exp(-z^2 + P(t)), t = 2/(2 + z), P a Chebyshev series in 2t - 1 fitted to float64 accuracy.
template <class T> inline V<T> erfc_positive(V<T> z) {
    static const double c[] = {
        -6.51326859890854704e-01, 6.41969792356490210e-01, 1.94764732041858360e-02, -9.56151478680863226e-03,
        -9.46595344482036916e-04, 3.66839497852761447e-04, 4.25233248069077689e-05, -2.02785781125342418e-05,
        -1.62429000464702561e-06, 1.30365583558052324e-06, 1.56264417220661419e-08, -8.52380959149265415e-08,
        6.52905443909885149e-09, 5.05934349555146930e-09, -9.91364156493033066e-10, -2.27365122293183597e-10,
        9.64679110201552702e-11, 2.39403808303911459e-12, -6.88602752649755322e-12, 8.94487927309072531e-13,
        3.13092139934295813e-13, -1.12708223613672523e-13, 3.81090525518923205e-16, 7.10609761360923712e-15,
        -1.52302820145710434e-15, -9.45749457129123340e-17, 1.21023718922427899e-16, -2.81666308774717710e-17};
    constexpr int terms = sizeof(T) == 4 ? 12 : 28;
    V<T> t = T(2) / (T(2) + z), u = T(4) * t - T(2), b = V<T>{}, b1 = V<T>{};
    for (int k = terms - 1; k > 0; k--) {
        V<T> next = u * b - b1 + T(c[k]);
        b1 = b;
        b = next;
    }
    return t * vexp<T>(T(0.5) * u * b - b1 + T(c[0]) - z * z);
}

template <class T, int A> inline void activate_vector(V<T>& a, V<T>& s) {
    V<T> h = a, one = splat<T>(1), zero = V<T>{};
    if constexpr (A == SILU) {
        s = vsigmoid<T>(h);
        a = h * s;
        s = s * (T(1) - a) + a;
    } else if constexpr (A == RELU) {
        a = h < zero ? zero : h;
        s = h > zero ? one : zero;
    } else if constexpr (A == LEAKY_RELU) {
        s = h > zero ? one : splat<T>(0.01);
        a = h * s;
    } else if constexpr (A == TANH) {
        a = vtanh<T>(h);
        s = T(1) - a * a;
    } else {
        V<T> half = T(0.5) * erfc_positive<T>((h < zero ? -h : h) * T(0.70710678118654752440));
        V<T> phi = h < zero ? half : T(1) - half;
        a = h * phi;
        s = phi + h * T(0.39894228040143267794) * vexp<T>(T(-0.5) * h * h);
    }
}
template <class T, int A> void activate(T* a, T* s, int rows, int points, long stride) {
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < points; p += LANES<T>) {
            V<T> v = load<T>(a + r * stride + p), slope;
            activate_vector<T, A>(v, slope);
            store<T>(a + r * stride + p, v);
            store<T>(s + r * stride + p, slope);
        }
}
template <class T> using Activate = void (*)(T*, T*, int, int, long);
template <class T> Activate<T> activation(int kind) {
    static const Activate<T> all[] = {activate<T, SILU>, activate<T, RELU>, activate<T, LEAKY_RELU>, activate<T, TANH>,
                                      activate<T, GELU>};
    return all[kind];
}

// Memory for one thread, aligned, zeroed, freed at the end of its scope.
template <class T> class Scratch {
    std::vector<void*> blocks;

  public:
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    T* take(long count) {
        long bytes = (count * (long)sizeof(T) + BYTES - 1) / BYTES * BYTES;
        void* block = std::aligned_alloc(BYTES, std::max<long>(bytes, BYTES));
        std::memset(block, 0, std::max<long>(bytes, BYTES));
        blocks.push_back(block);
        return (T*)block;
    }
    ~Scratch() {
        for (void* block : blocks) std::free(block);
    }
};

constexpr int MAX_LAYERS = 6;

// The layers of one MLP and room for its hidden activations on `stride` points. Parameters lie W1 (out, in), b1, W2, …
template <class T> struct Net {
    int layers;
    const int64_t* sizes;
    Activate<T> act;
    long stride, W[MAX_LAYERS], b[MAX_LAYERS], count = 0;
    T *a[MAX_LAYERS], *s[MAX_LAYERS], *ones, *room;  // s holds slopes after forward, deltas after backward

    Net(int layers, const int64_t* sizes, int kind, long stride, Scratch<T>& scratch)
        : layers(layers), sizes(sizes), act(activation<T>(kind)), stride(stride) {
        for (int l = 0; l < layers; l++) {
            W[l] = count;
            b[l] = count + sizes[l] * sizes[l + 1];
            count = b[l] + sizes[l + 1];
            if (l + 1 < layers) {
                a[l] = scratch.take(sizes[l + 1] * stride);
                s[l] = scratch.take(sizes[l + 1] * stride);
            }
        }
        ones = scratch.take(stride);
        std::fill(ones, ones + stride, T(1));
        long most = 0;
        for (int l = 0; l < layers; l++) most = std::max(most, room_for_outer<T>(sizes[l + 1], sizes[l]));
        room = scratch.take(most);
    }
    // Outputs `out` of `points` points whose inputs are at x and whose activations go to columns from `at`. With `first` = 1
    // the first hidden layer's activations are there already.
    void forward(const T* theta, const T* x, long x_stride, T* out, long out_stride, int points, long at = 0,
                 int first = 0) {
        for (int l = first; l < layers; l++) {
            bool last = l == layers - 1;
            int rows = sizes[l + 1], depth = sizes[l];
            product<T, LAYER>({rows, depth, points, theta + W[l], depth, 1, theta + b[l], l ? a[l - 1] + at : x,
                               l ? stride : x_stride, last ? out : a[l] + at, last ? out_stride : stride});
            if (!last) act(a[l] + at, s[l] + at, rows, points, stride);
        }
    }
    // Turns slopes into deltas (derivatives of the loss by pre-activations), given those of the outputs.
    void backward(const T* theta, const T* delta, long delta_stride, int points, long at = 0) {
        for (int l = layers - 1; l > 0; l--) {
            bool last = l == layers - 1;
            int rows = sizes[l], depth = sizes[l + 1];
            product<T, SCALE>({rows, depth, points, theta + W[l], 1, rows, nullptr, last ? delta : s[l] + at,
                               last ? delta_stride : stride, s[l - 1] + at, stride});
        }
    }
    // Derivatives by the first `rows` inputs, written or added to `out` (mode WRITE or ADD); after backward.
    template <int M>
    void inputs(const T* theta, const T* delta, long delta_stride, int points, long at, int rows, T* out,
                long out_stride) {
        bool only = layers == 1;
        product<T, M>({rows, (int)sizes[1], points, theta, 1, (long)sizes[0], nullptr, only ? delta : s[0] + at,
                       only ? delta_stride : stride, out, out_stride});
    }
    // Adds the derivatives by the parameters, from layer `first` on, to `grad`; after backward.
    void gradient(const T* x, long x_stride, const T* delta, long delta_stride, int points, T* grad, int first = 0) {
        for (int l = first; l < layers; l++) {
            bool last = l == layers - 1;
            outer<T>(sizes[l + 1], sizes[l], points, last ? delta : s[l], last ? delta_stride : stride, l ? a[l - 1] : x,
                     l ? stride : x_stride, ones, grad + W[l], grad + b[l], room);
        }
    }
};

// Losses of outputs f (rows × points) at targets y with weights w of the points, averaged over outputs. For
// cross-entropy y has one row, the class numbers.
enum Loss { MSE, BCE, CROSS_ENTROPY, LOG };

template <class T> double loss_value(int kind, const T* f, long f_stride, const T* y, long y_stride, const T* w, int rows,
                                     int points) {
    double total = 0;
    for (int p = 0; p < points; p++) {
        if (w[p] == 0) continue;
        double sum = 0;
        if (kind == CROSS_ENTROPY) {
            double top = f[p];
            for (int r = 1; r < rows; r++) top = std::max<double>(top, f[r * f_stride + p]);
            for (int r = 0; r < rows; r++) sum += std::exp(f[r * f_stride + p] - top);
            total += w[p] * (top + std::log(sum) - f[(long)y[p] * f_stride + p]);
            continue;
        }
        for (int r = 0; r < rows; r++) {
            double h = f[r * f_stride + p], t = y[r * y_stride + p], e = h - t;
            sum += kind == MSE   ? e * e
                   : kind == LOG ? 0.5 * std::log1p(e * e)
                                 : (h > 0 ? h : 0) - h * t + std::log1p(std::exp(-std::abs(h)));
        }
        total += w[p] * sum / rows;
    }
    return total;
}

// Turns outputs f into derivatives of the weighted loss by them.
template <class T> void loss_slope(int kind, T* f, long f_stride, const T* y, long y_stride, const T* w, int rows,
                                   int points) {
    for (int p = 0; p < points; p += LANES<T>) {
        V<T> weight = load<T>(w + p);
        if (kind == CROSS_ENTROPY) {
            V<T> top = load<T>(f + p), sum = V<T>{}, target = load<T>(y + p);
            for (int r = 1; r < rows; r++) {
                V<T> h = load<T>(f + r * f_stride + p);
                top = h > top ? h : top;
            }
            for (int r = 0; r < rows; r++) {
                V<T> e = vexp<T>(load<T>(f + r * f_stride + p) - top);
                sum += e;
                store<T>(f + r * f_stride + p, e);
            }
            for (int r = 0; r < rows; r++) {
                V<T> hit = target == splat<T>(r) ? splat<T>(1) : V<T>{};
                store<T>(f + r * f_stride + p, (load<T>(f + r * f_stride + p) / sum - hit) * weight);
            }
            continue;
        }
        weight /= T(rows);
        for (int r = 0; r < rows; r++) {
            T* h = f + r * f_stride + p;
            V<T> t = load<T>(y + r * y_stride + p), v = load<T>(h), e = v - t;
            V<T> slope = kind == MSE ? e + e : kind == LOG ? e / (T(1) + e * e) : vsigmoid<T>(v) - t;
            store<T>(h, slope * weight);
        }
    }
}
