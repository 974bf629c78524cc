// Many training steps of a stack of MLPs on pairs of learned points in one call. A member has a table E (tokens, dim) of
// points, and learns from pairs (i, j) of them.
#pragma once

#include "net.h"
#include "optimiser.h"

constexpr long EMBEDDING_BYTES = 65536;  // of hidden activations and slopes in one block of pairs

// What the decoder reads of the pair (i, j). All but the last are linear, so that its first layer is a sum of two rows of
// tables, A_i + B_j, which are made once a step.
enum PairMode { CONCATENATION, SUM, DIFFERENCE, SQUARED_DIFFERENCE };

// As lib/kernels/fused/cpp.py lays it out. Pairs are padded to a multiple of LANES with weight 0.
struct Embedding {
    int64_t groups, steps, threads, points, activation, loss, tokens, dim, mode;
    const int64_t *members, *layers, *sizes;  // of each group; the decoder's layers, MAX_LAYERS + 1 a group
    const int64_t *counts, *i, *j;            // of each member: its pairs, padding included; (members, points)
    const void *y, *w;                        // (members, out or 1, points), (members, points)
    void *theta, *losses, *gradient;          // losses (members,) and gradient (total,) at the end, or null
    Optimiser optimiser;
};

template <class T> class EmbeddingMember {
    static constexpr long L = LANES<T>;
    const Embedding& q;
    const int tokens, dim, inputs, outputs, width;  // width: of the first layer's outputs, or of its inputs if squared
    const bool squared;
    const long row, block, E_count;  // numbers in a row of a table: whole vectors
    Scratch<T> scratch;
    Net<T> net;
    T *A, *B, *dA, *dB, *W, *dW;  // tables (tokens, row); the first layer turned around (inputs, row), and its gradient
    T *x, *dx, *out, *grad, *settings;

    long block_of(const int64_t* sizes, int layers) const {
        long rows = 0;
        for (int l = 1; l < layers; l++) rows += 2 * sizes[l];
        long fit = EMBEDDING_BYTES / sizeof(T) / std::max(rows, 1L) / (4 * L) * (4 * L);
        return std::min<long>(std::max<long>(fit, 8 * L), q.points);
    }
    // Tables from the parameters.
    void prepare(const T* theta) {
        std::fill(dA, dA + tokens * row, T(0));
        std::fill(dB, dB + tokens * row, T(0));
        const T *first = theta + E_count, *bias = first + net.b[0];
        if (squared) {
            for (int t = 0; t < tokens; t++) std::copy(theta + t * dim, theta + (t + 1) * dim, A + t * row);
            return;
        }
        for (int h = 0; h < width; h++)
            for (int k = 0; k < inputs; k++) W[k * row + h] = first[h * (long)inputs + k];
        product<T, WRITE>({tokens, dim, (int)row, theta, dim, 1, nullptr, W, row, A, row});
        if (q.mode == CONCATENATION)
            product<T, WRITE>({tokens, dim, (int)row, theta, dim, 1, nullptr, W + dim * row, row, B, row});
        for (int t = 0; t < tokens; t++)
            for (int h = 0; h < width; h++) {
                T& b = B[t * row + h];
                b = (q.mode == CONCATENATION ? b : q.mode == SUM ? A[t * row + h] : -A[t * row + h]) + bias[h];
            }
    }
    // What enters the first hidden layer, or, if squared, the decoder: rows `z` of some pairs.
    void gather(const int64_t* i, const int64_t* j, int points, T* z, long stride) {
        for (int p = 0; p < points; p += L)
            for (int c = 0; c < width; c += L) {
                V<T> square[L];
                UNROLL for (int l = 0; l < L; l++) {
                    V<T> a = load<T>(A + i[p + l] * row + c);
                    if (squared) {
                        V<T> d = a - load<T>(A + j[p + l] * row + c);
                        square[l] = d * d;
                    } else {
                        square[l] = a + load<T>(B + j[p + l] * row + c);
                    }
                }
                transpose<T>(square);
                for (int l = 0; l < std::min<long>(L, width - c); l++) store<T>(z + (c + l) * stride + p, square[l]);
            }
    }
    // Adds the derivatives `delta` by what `gather` gave to those of the tables' rows.
    void scatter(const int64_t* i, const int64_t* j, int points, const T* delta, long stride) {
        for (int p = 0; p < points; p += L)
            for (int c = 0; c < width; c += L) {
                V<T> square[L];
                for (int l = 0; l < L; l++) square[l] = c + l < width ? load<T>(delta + (c + l) * stride + p) : V<T>{};
                transpose<T>(square);
                for (int l = 0; l < L; l++) {
                    T *a = dA + i[p + l] * row + c, *b = dB + j[p + l] * row + c;
                    if (squared) {
                        const T *one = A + i[p + l] * row + c, *other = A + j[p + l] * row + c;
                        square[l] *= T(2) * (load<T>(one) - load<T>(other));
                    }
                    store<T>(a, load<T>(a) + square[l]);
                    store<T>(b, load<T>(b) + square[l]);
                }
            }
    }
    // From the tables' derivatives to those of the parameters.
    void finish(const T* theta) {
        T *first = grad + E_count, *bias = first + net.b[0];
        if (!squared)
            for (int t = 0; t < tokens; t++)
                for (int h = 0; h < width; h++) bias[h] += dB[t * row + h];
        if (q.mode != CONCATENATION) {  // one table in truth
            const T sign = q.mode == SUM ? 1 : -1;
            for (long at = 0; at < tokens * row; at++) dA[at] += sign * dB[at];
        }
        if (squared) {
            for (int t = 0; t < tokens; t++) std::copy(dA + t * row, dA + t * row + dim, grad + t * dim);
            return;
        }
        std::fill(dW, dW + inputs * row, T(0));
        for (int side = 0; side < (q.mode == CONCATENATION ? 2 : 1); side++) {
            const T *table = side ? dB : dA, *layer = W + side * dim * row;
            for (int t = 0; t < tokens; t++)
                for (int k = 0; k < dim; k++) {
                    T* slope = dW + (side * dim + k) * row;
                    const V<T> point = splat<T>(theta[t * dim + k]);
                    V<T> sum = V<T>{};
                    for (long h = 0; h < row; h += L) {
                        V<T> d = load<T>(table + t * row + h);
                        store<T>(slope + h, load<T>(slope + h) + point * d);
                        sum += d * load<T>(layer + k * row + h);
                    }
                    T sums[L];
                    lane_sums<T, 1>(&sum, sums);
                    grad[t * dim + k] += sums[0];
                }
        }
        for (int h = 0; h < width; h++)
            for (int k = 0; k < inputs; k++) first[h * (long)inputs + k] += dW[k * row + h];
    }
    // The loss if `value`, else the gradient into grad.
    double pass(const T* theta, int64_t member, bool value) {
        const int64_t *i = q.i + member * q.points, *j = q.j + member * q.points, all = q.counts[member];
        const int targets = q.loss == CROSS_ENTROPY ? 1 : outputs;
        const T *y = (const T*)q.y + member * targets * q.points, *w = (const T*)q.w + member * q.points;
        const T* decoder = theta + E_count;
        const bool flat = net.layers == 1;
        double loss = 0;
        std::fill(grad, grad + count(), T(0));
        prepare(theta);
        for (long p = 0; p < all; p += block) {
            const int points = std::min<long>(block, all - p);
            gather(i + p, j + p, points, squared ? x : flat ? out : net.a[0], block);
            if (!squared && !flat) net.act(net.a[0], net.s[0], width, points, block);
            net.forward(decoder, x, block, out, block, points, 0, !squared);
            if (value) {
                loss += loss_value<T>(q.loss, out, block, y + p, q.points, w + p, outputs, points);
                continue;
            }
            loss_slope<T>(q.loss, out, block, y + p, q.points, w + p, outputs, points);
            net.backward(decoder, out, block, points);
            net.gradient(x, block, out, block, points, grad + E_count, !squared);
            if (squared) net.template inputs<WRITE>(decoder, out, block, points, 0, dim, dx, block);
            scatter(i + p, j + p, points, squared ? dx : flat ? out : net.s[0], block);
        }
        if (!value) finish(theta);
        return loss;
    }
    EmbeddingMember(const Embedding& q, const int64_t* sizes, int layers)
        : q(q), tokens(q.tokens), dim(q.dim), inputs(sizes[0]), outputs(sizes[layers]),
          width(q.mode == SQUARED_DIFFERENCE ? dim : sizes[1]), squared(q.mode == SQUARED_DIFFERENCE),
          row(whole<T>(width)), block(block_of(sizes, layers)), E_count((long)tokens * dim),
          net(layers, sizes, q.activation, block, scratch) {
        for (T** table : {&A, &B, &dA, &dB}) *table = scratch.take(tokens * row);
        for (T** table : {&W, &dW}) *table = scratch.take(inputs * row);
        for (T** rows : {&x, &dx}) *rows = scratch.take((squared ? dim : 0) * block);
        out = scratch.take(outputs * block);
        grad = scratch.take(Stepper<T>::pad(count()));
        settings = scratch.take(5 * Stepper<T>::pad(count()));
    }

  public:
    EmbeddingMember(const Embedding& q, int group)
        : EmbeddingMember(q, q.sizes + group * (MAX_LAYERS + 1), q.layers[group]) {}
    void train(int64_t member, long from) {
        T* theta = (T*)q.theta + from;
        if (q.steps) {
            Stepper<T> stepper(q.optimiser, (T*)q.theta, from, count(), settings);
            for (int64_t k = 0; k < q.steps; k++) {
                pass(stepper.theta, member, false);
                stepper.step(grad, k);
            }
        }
        if (q.losses) ((T*)q.losses)[member] = pass(theta, member, true);
        if (q.gradient) {
            pass(theta, member, false);
            std::copy(grad, grad + count(), (T*)q.gradient + from);
        }
    }
    long count() const { return E_count + net.count; }
};

template <class T> void train_embedding(const Embedding& q) { over_groups<EmbeddingMember<T>>(q); }
