// Many training steps of a stack of MLPs in one call: each member stays on one core for all of them.
#pragma once

#include "net.h"
#include "optimiser.h"

constexpr long MLP_BYTES = 32768;  // of hidden activations and slopes in one block of points: a usual first-level cache

// As lib/kernels/fused/cpp.py lays it out. Points are columns, padded to a multiple of LANES with weight 0; a member
// stride of 0 means shared by all members. With minibatches (batch > 0) points are rows, x (points, in) and y (points, out
// or 1), not padded and without weights; x may be bytes, which stand for x * scale + shift.
struct Mlp {
    int64_t groups, steps, threads, points, activation, loss, batch, bytes;
    const int64_t *members, *layers, *sizes;  // of each group; layer sizes, MAX_LAYERS + 1 a group
    const int64_t *picks, *counts;            // of minibatches: rows (steps, members, batch), and how many members have
    const void *x, *y, *w;                    // (in, points), (out or 1, points), (points)
    const void *scale, *shift;                // (in)
    int64_t x_member, y_member, w_member;
    void *theta, *losses, *gradient;  // losses (members,) and gradient (total,) at the end, or null
    Optimiser optimiser;
};

template <class T> class MlpMember {
    static constexpr long L = LANES<T>;
    const Mlp& q;
    int inputs, outputs, targets;  // rows of x, of the outputs and of y
    int64_t members = 0;
    long columns, block;           // of the data of a step, and of a block of them
    Scratch<T> scratch;
    Net<T> net;
    T *out, *grad, *settings, *x = nullptr, *y, *w;  // x, y and w of a minibatch

    // Points a block, a multiple of the widest tile: wide layers want some points more than a first-level cache.
    long block_of(const int64_t* sizes, int layers) const {
        long rows = 0;
        for (int l = 1; l < layers; l++) rows += 2 * sizes[l];
        long fit = MLP_BYTES / sizeof(T) / std::max(rows, 1L) / (4 * L) * (4 * L);
        return std::min<long>(std::max<long>(fit, 8 * L), columns);
    }
    // Rows of a minibatch to columns: `count` of them, those in `picks` or, if null, from row `start` on.
    void gather(int64_t member, const int64_t* picks, long start, long count, T weight) {
        alignas(BYTES) T tail[L];
        const T *scale = (const T*)q.scale, *shift = (const T*)q.shift, *all = (const T*)q.x + member * q.x_member;
        const uint8_t* raw = (const uint8_t*)q.x + member * q.x_member;
        for (long p = 0; p < columns; p += L) {
            long row[L];
            for (long i = 0; i < L; i++) {
                bool real = p + i < count;
                row[i] = !real ? 0 : picks ? picks[p + i] : start + p + i;
                w[p + i] = real ? weight : T(0);
                const T* t = (const T*)q.y + member * q.y_member + row[i] * targets;
                for (int r = 0; r < targets; r++) y[r * columns + p + i] = t[r];
            }
            for (int c = 0; c < inputs; c += L) {
                V<T> square[L];
                const int real = std::min<long>(L, inputs - c);
                for (long i = 0; i < L; i++) {
                    const long at = row[i] * inputs + c;
                    if (q.bytes)
                        for (int j = 0; j < real; j++) tail[j] = T(raw[at + j]) * scale[c + j] + shift[c + j];
                    else
                        std::copy(all + at, all + at + real, tail);
                    square[i] = load<T>(tail);
                }
                transpose<T>(square);
                for (long i = 0; i < real; i++) store<T>(x + (c + i) * columns + p, square[i]);
            }
        }
    }
    // The loss if `value`, else the gradient, added to grad, on `points` columns with `stride` numbers between rows.
    double pass(const T* theta, const T* x, const T* y, const T* w, long all, bool value) {
        double loss = 0;
        for (long p = 0; p < all; p += block) {
            int points = std::min<long>(block, all - p);
            net.forward(theta, x + p, all, out, block, points);
            if (value) {
                loss += loss_value<T>(q.loss, out, block, y + p, all, w + p, outputs, points);
                continue;
            }
            loss_slope<T>(q.loss, out, block, y + p, all, w + p, outputs, points);
            net.backward(theta, out, block, points);
            net.gradient(x + p, all, out, block, points, grad);
        }
        return loss;
    }
    // The same on all data.
    double whole_pass(const T* theta, int64_t member, bool value) {
        if (!q.batch)
            return pass(theta, (const T*)q.x + member * q.x_member, (const T*)q.y + member * q.y_member,
                        (const T*)q.w + member * q.w_member, columns, value);
        double loss = 0;
        const long rows = q.counts[member];
        for (long start = 0; start < rows; start += q.batch) {
            gather(member, nullptr, start, std::min<long>(q.batch, rows - start), T(1) / rows);
            loss += pass(theta, x, y, w, columns, value);
        }
        return loss;
    }

  public:
    MlpMember(const Mlp& q, int group)
        : MlpMember(q, q.sizes + group * (MAX_LAYERS + 1), q.layers[group]) {}
    MlpMember(const Mlp& q, const int64_t* sizes, int layers)
        : q(q), inputs(sizes[0]), outputs(sizes[layers]), targets(q.loss == CROSS_ENTROPY ? 1 : outputs),
          columns(q.batch ? (q.batch + L - 1) / L * L : q.points), block(block_of(sizes, layers)),
          net(layers, sizes, q.activation, block, scratch), out(scratch.take(outputs * block)),
          grad(scratch.take(Stepper<T>::pad(net.count))), settings(scratch.take(5 * Stepper<T>::pad(net.count))) {
        for (int64_t g = 0; g < q.groups; g++) members += q.members[g];
        if (!q.batch) return;
        x = scratch.take(inputs * columns);
        y = scratch.take(targets * columns);
        w = scratch.take(columns);
    }
    void train(int64_t member, long from) {
        T* theta = (T*)q.theta + from;
        if (q.steps) {
            Stepper<T> stepper(q.optimiser, (T*)q.theta, from, net.count, settings);
            for (int64_t k = 0; k < q.steps; k++) {
                std::fill(grad, grad + net.count, T(0));
                if (q.batch) {
                    gather(member, q.picks + (k * members + member) * q.batch, 0, q.batch, T(1) / q.batch);
                    pass(stepper.theta, x, y, w, columns, false);
                } else {
                    whole_pass(stepper.theta, member, false);
                }
                stepper.step(grad, k);
            }
        }
        if (q.losses) ((T*)q.losses)[member] = whole_pass(theta, member, true);
        if (q.gradient) {
            std::fill(grad, grad + net.count, T(0));
            whole_pass(theta, member, false);
            std::copy(grad, grad + net.count, (T*)q.gradient + from);
        }
    }
    long count() const { return net.count; }
};

template <class T> void train_mlp(const Mlp& q) { over_groups<MlpMember<T>>(q); }
