// Many training steps of a stack of MLPs in one call: each member stays on one core for all of them.
#pragma once

#include <memory>

#include "net.h"
#include "optimiser.h"

constexpr long MLP_BYTES = 32768;  // of hidden activations and slopes in one block of points: a usual first-level cache

// As lib/kernels/fused/cpp.py lays it out. Points are columns, padded to a multiple of LANES with weight 0; a member
// stride of 0 means shared by all members.
struct Mlp {
    int64_t groups, steps, threads, points, activation, loss;
    const int64_t *members, *layers, *sizes;  // of each group; layer sizes, MAX_LAYERS + 1 a group
    const void *x, *y, *w;                    // (in, points), (out or 1, points), (points)
    int64_t x_member, y_member, w_member;
    void *theta, *losses, *gradient;  // losses (members,) and gradient (total,) at the end, or null
    Optimiser optimiser;
};

template <class T> class MlpMember {
    const Mlp& q;
    int outputs;
    long block;
    Scratch<T> scratch;
    Net<T> net;
    T *out, *grad, *settings;

    // Points a block, a multiple of the widest tile.
    static long block_of(const Mlp& q, const int64_t* sizes, int layers) {
        long rows = 0;
        for (int l = 1; l < layers; l++) rows += 2 * sizes[l];
        long fit = MLP_BYTES / sizeof(T) / std::max(rows, 1L) / (4 * LANES<T>) * (4 * LANES<T>);
        return std::min<long>(std::max<long>(fit, 4 * LANES<T>), q.points);
    }

  public:
    MlpMember(const Mlp& q, int group)
        : q(q), outputs(q.sizes[group * (MAX_LAYERS + 1) + q.layers[group]]),
          block(block_of(q, q.sizes + group * (MAX_LAYERS + 1), q.layers[group])),
          net(q.layers[group], q.sizes + group * (MAX_LAYERS + 1), q.activation, block, scratch),
          out(scratch.take(outputs * block)), grad(scratch.take(Stepper<T>::pad(net.count))),
          settings(scratch.take(5 * Stepper<T>::pad(net.count))) {}

    // The loss if `value`, else the gradient into grad.
    double pass(const T* theta, int64_t member, bool value) {
        const T *x = (const T*)q.x + member * q.x_member, *y = (const T*)q.y + member * q.y_member;
        const T* w = (const T*)q.w + member * q.w_member;
        double loss = 0;
        std::fill(grad, grad + net.count, T(0));
        for (long p = 0; p < q.points; p += block) {
            int points = std::min<long>(block, q.points - p);
            net.forward(theta, x + p, q.points, out, block, points);
            if (value) {
                loss += loss_value<T>(q.loss, out, block, y + p, q.points, w + p, outputs, points);
                continue;
            }
            loss_slope<T>(q.loss, out, block, y + p, q.points, w + p, outputs, points);
            net.backward(theta, out, block, points);
            net.gradient(x + p, q.points, out, block, points, grad);
        }
        return loss;
    }
    void train(int64_t member, long from) {
        T* theta = (T*)q.theta + from;
        if (q.steps) {
            Stepper<T> stepper(q.optimiser, (T*)q.theta, from, net.count, settings);
            for (int64_t k = 0; k < q.steps; k++) {
                pass(stepper.theta, member, false);
                stepper.step(grad, k);
            }
        }
        if (q.losses) ((T*)q.losses)[member] = pass(theta, member, true);
        if (q.gradient) {
            pass(theta, member, false);
            std::copy(grad, grad + net.count, (T*)q.gradient + from);
        }
    }
    long count() const { return net.count; }
};

template <class T> void train_mlp(const Mlp& q) {
    int64_t members = 0;
    for (int64_t g = 0; g < q.groups; g++) members += q.members[g];
    over_members(members, q.threads, [&](auto next) {
        int64_t group = 0, before = 0, from = 0;  // members and parameters before the group
        auto worker = std::make_unique<MlpMember<T>>(q, 0);
        for (int64_t i; (i = next()) >= 0;) {
            while (i >= before + q.members[group]) {
                before += q.members[group];
                from += q.members[group] * worker->count();
                worker = std::make_unique<MlpMember<T>>(q, ++group);
            }
            worker->train(i, from + (i - before) * worker->count());
        }
    });
}
