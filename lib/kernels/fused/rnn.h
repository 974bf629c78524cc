// Many training steps of a stack of small RNNs in one call, h_t = f([h_{t-1}, x_t]), y_t = g(h_t), h_0 = 0, with f and g
// MLPs: forward, back-propagation through time and the optimiser, each member on one core. Columns are (time, sequence).
#pragma once

#include "net.h"
#include "optimiser.h"

constexpr long RNN_BYTES = 65536;  // of activations and slopes in one block of sequences, by trial

// As lib/kernels/fused/cpp.py lays it out.
struct Rnn {
    int64_t members, steps, threads, activation, loss;
    int64_t sequences, length, batch, f_layers, g_layers;
    const int64_t *f_sizes, *g_sizes;  // [hidden + inputs, …, hidden] and [hidden, …, outputs]
    const int64_t* picks;              // (steps, batch): the sequences of each step
    const void *x, *y;                 // (sequences, length, inputs), (sequences, length, outputs)
    void *theta, *losses, *gradient;   // losses (members,) and gradient (total,) on all sequences at the end, or null
    Optimiser optimiser;
};

template <class T> class RnnMember {
    const Rnn& q;
    const int hidden, inputs, outputs, length;
    const long block, columns, u_stride;  // sequences a block, columns of a block, and of u, which starts with h_0
    Scratch<T> scratch;
    Net<T> f, g;
    T *u, *y, *w, *out, *delta, *grad, *settings;  // u holds rows h, x

    // Sequences a block: the batch in equal parts of at most RNN_BYTES, and at least a vector's lanes.
    static long block_of(const Rnn& q) {
        constexpr long L = LANES<T>;
        long rows = q.f_sizes[0] + q.f_sizes[q.f_layers] + 2 * q.g_sizes[q.g_layers];
        for (int l = 1; l < q.f_layers; l++) rows += 2 * q.f_sizes[l];
        for (int l = 1; l < q.g_layers; l++) rows += 2 * q.g_sizes[l];
        long fit = std::max<long>(RNN_BYTES / (long)sizeof(T) / rows / q.length, L);
        long parts = (q.batch + fit - 1) / fit;
        return ((q.batch + parts - 1) / parts + L - 1) / L * L;
    }
    void fill(const int64_t* picks, int64_t start, int64_t count) {
        for (long p = 0; p < block; p++) {
            bool real = start + p < count;
            int64_t sequence = !real ? 0 : picks ? picks[start + p] : start + p;
            const T *x = (const T*)q.x + sequence * length * inputs, *t = (const T*)q.y + sequence * length * outputs;
            for (int k = 0; k < length; k++) {
                for (int j = 0; j < inputs; j++) u[(hidden + j) * u_stride + k * block + p] = x[k * inputs + j];
                for (int j = 0; j < outputs; j++) y[j * columns + k * block + p] = t[k * outputs + j];
                w[k * block + p] = real ? T(1) / T(count * length) : T(0);
            }
        }
    }

  public:
    RnnMember(const Rnn& q)
        : q(q), hidden(q.g_sizes[0]), inputs(q.f_sizes[0] - hidden), outputs(q.g_sizes[q.g_layers]), length(q.length),
          block(block_of(q)), columns(block * length), u_stride(columns + block),
          f(q.f_layers, q.f_sizes, q.activation, columns, scratch),
          g(q.g_layers, q.g_sizes, q.activation, columns, scratch), u(scratch.take((hidden + inputs) * u_stride)),
          y(scratch.take(outputs * columns)), w(scratch.take(columns)), out(scratch.take(outputs * columns)),
          delta(scratch.take(hidden * columns)), grad(scratch.take(Stepper<T>::pad(count()))),
          settings(scratch.take(5 * Stepper<T>::pad(count()))) {}

    // The loss if `value`, else the gradient into grad, on the picked sequences (null: the first `total`).
    double pass(const T* theta, const int64_t* picks, int64_t total, bool value) {
        const T* readout = theta + f.count;
        double loss = 0;
        std::fill(grad, grad + count(), T(0));
        for (int64_t start = 0; start < total; start += block) {
            fill(picks, start, total);
            for (int t = 0; t < length; t++)
                f.forward(theta, u + t * block, u_stride, u + (t + 1) * block, u_stride, block, t * block);
            g.forward(readout, u + block, u_stride, out, columns, columns);
            if (value) {
                loss += loss_value<T>(q.loss, out, columns, y, columns, w, outputs, columns);
                continue;
            }
            loss_slope<T>(q.loss, out, columns, y, columns, w, outputs, columns);
            g.backward(readout, out, columns, columns);
            g.template inputs<WRITE>(readout, out, columns, columns, 0, hidden, delta, columns);
            g.gradient(u + block, u_stride, out, columns, columns, grad + f.count);
            for (int t = length - 1; t >= 0; t--) {
                f.backward(theta, delta + t * block, columns, block, t * block);
                if (t)
                    f.template inputs<ADD>(theta, delta + t * block, columns, block, t * block, hidden,
                                           delta + (t - 1) * block, columns);
            }
            f.gradient(u, u_stride, delta, columns, columns, grad);
        }
        return loss;
    }
    void train(int64_t member) {
        long from = member * count();
        T* theta = (T*)q.theta + from;
        if (q.steps) {
            Stepper<T> stepper(q.optimiser, (T*)q.theta, from, count(), settings);
            for (int64_t k = 0; k < q.steps; k++) {
                pass(stepper.theta, q.picks + k * q.batch, q.batch, false);
                stepper.step(grad, k);
            }
        }
        if (q.losses) ((T*)q.losses)[member] = pass(theta, nullptr, q.sequences, true);
        if (q.gradient) {
            pass(theta, nullptr, q.sequences, false);
            std::copy(grad, grad + count(), (T*)q.gradient + from);
        }
    }
    long count() const { return f.count + g.count; }
};

template <class T> void train_rnn(const Rnn& q) {
    over_members(q.members, q.threads, [&](auto next) {
        RnnMember<T> worker(q);
        for (int64_t i; (i = next()) >= 0;) worker.train(i);
    });
}
