// Many training steps of a stack of rate networks in one call, h_t = relu(W h_{t-1} + U x_t + b + noise_t), answers V h_t + c:
// forward, back-propagation through time, the price of the weights and the optimiser, each member on one core.
// Columns are (time, trial), the longest trials first, so that the first columns of a time go on from those before it.
#pragma once

#include "net.h"
#include "optimiser.h"

// As lib/kernels/fused/cpp.py lays it out. Every step has its own trials; columns of a time come in multiples of LANES.
struct Rate {
    int64_t members, steps, threads, units, inputs, outputs;
    const int64_t *times, *counts;         // times of each step; columns of each time, one step's after the other's
    const void *x, *noise, *y, *w;         // of each step (inputs, columns), (units, columns) or null, (columns), (columns)
    const void *price, *scales, *free;     // (total) or null: price |theta| scales[step] is added to the loss; 0 holds still
    void *theta, *losses, *gradient;       // losses (members,) and gradient (total,) of the first step, or null
    Optimiser optimiser;
};

template <class T> class RateMember {
    struct Trials {  // of one step
        int64_t times;
        const int64_t* counts;
        long columns;
        const T *x, *noise, *y, *w;
    };
    const Rate& q;
    const int units, inputs, outputs;
    const long U, b, R, c;  // where U, b, V and c begin; W is at 0
    std::vector<Trials> trials;
    Scratch<T> scratch;
    T *h, *dz, *f, *grad, *settings, *ones, *room, *unused;

    // The loss if `value`, else the gradient into grad.
    double pass(const T* theta, const Trials& now, bool value) {
        const auto [times, counts, columns, x, noise, y, w] = now;
        const int all = columns;
        product<T, LAYER>({units, inputs, all, theta + U, inputs, 1, theta + b, x, columns, h, columns});
        for (long t = 0, at = 0; t < times; at += counts[t++]) {
            if (t)
                product<T, ADD>({units, units, (int)counts[t], theta, units, 1, nullptr, h + at - counts[t - 1],
                                 columns, h + at, columns});
            for (int r = 0; r < units; r++)
                for (long p = at; p < at + counts[t]; p += LANES<T>) {
                    V<T> v = load<T>(h + r * columns + p);
                    if (noise) v += load<T>(noise + r * columns + p);
                    store<T>(h + r * columns + p, v < V<T>{} ? V<T>{} : v);
                }
        }
        product<T, LAYER>({outputs, units, all, theta + R, units, 1, theta + c, h, columns, f, columns});
        if (value) return loss_value<T>(CROSS_ENTROPY, f, columns, y, columns, w, outputs, all);
        loss_slope<T>(CROSS_ENTROPY, f, columns, y, columns, w, outputs, all);
        std::fill(grad, grad + count(), T(0));
        product<T, WRITE>({units, outputs, all, theta + R, 1, units, nullptr, f, columns, dz, columns});
        for (long t = times - 1, at = columns; t >= 0; t--) {
            long next = at;
            at -= counts[t];
            if (t + 1 < times)
                product<T, ADD>({units, units, (int)counts[t + 1], theta, 1, units, nullptr, dz + next, columns, dz + at,
                                 columns});
            for (int r = 0; r < units; r++)
                for (long p = at; p < next; p += LANES<T>) {
                    T *v = dz + r * columns + p, *state = h + r * columns + p;
                    store<T>(v, load<T>(state) > V<T>{} ? load<T>(v) : V<T>{});
                }
            if (t)
                outer<T>(units, units, counts[t], dz + at, columns, h + at - counts[t - 1], columns, ones, grad, unused,
                         room);
        }
        outer<T>(units, inputs, all, dz, columns, x, columns, ones, grad + U, grad + b, room);
        outer<T>(outputs, units, all, f, columns, h, columns, ones, grad + R, grad + c, room);
        return 0;
    }

  public:
    RateMember(const Rate& q)
        : q(q), units(q.units), inputs(q.inputs), outputs(q.outputs), U((long)units * units), b(U + (long)units * inputs),
          R(b + units), c(R + (long)outputs * units) {
        const int64_t* counts = q.counts;
        long from = 0, most = 0;
        for (int64_t k = 0; k < std::max<int64_t>(q.steps, 1); counts += q.times[k++]) {
            long columns = 0;
            for (int64_t t = 0; t < q.times[k]; t++) columns += counts[t];
            trials.push_back({q.times[k], counts, columns, (const T*)q.x + from * inputs,
                              q.noise ? (const T*)q.noise + from * units : nullptr, (const T*)q.y + from,
                              (const T*)q.w + from});
            from += columns;
            most = std::max(most, columns);
        }
        h = scratch.take(units * most);
        dz = scratch.take(units * most);
        f = scratch.take(outputs * most);
        grad = scratch.take(Stepper<T>::pad(count()));
        settings = scratch.take(5 * Stepper<T>::pad(count()));
        ones = scratch.take(most);
        std::fill(ones, ones + most, T(1));
        room = scratch.take(std::max({room_for_outer<T>(units, units), room_for_outer<T>(units, inputs),
                                      room_for_outer<T>(outputs, units)}));
        unused = scratch.take(units);
    }
    void train(int64_t member) {
        const long from = member * count();
        T* theta = (T*)q.theta + from;
        if (q.steps) {
            Stepper<T> stepper(q.optimiser, (T*)q.theta, from, count(), settings);
            for (int64_t k = 0; k < q.steps; k++) {
                pass(stepper.theta, trials[k], false);
                pay(stepper.theta, from, k);
                stepper.step(grad, k);
            }
        }
        if (q.losses) ((T*)q.losses)[member] = pass(theta, trials[0], true) + paid(theta, from);
        if (q.gradient) {
            pass(theta, trials[0], false);
            pay(theta, from, 0);
            std::copy(grad, grad + count(), (T*)q.gradient + from);
        }
    }
    // Adds the price's slope to the gradient, and clears that of parameters that are not free.
    void pay(const T* theta, long from, int64_t step) {
        const T *price = q.price ? (const T*)q.price + from : nullptr, *free = q.free ? (const T*)q.free + from : nullptr;
        if (price) {
            const T scale = ((const T*)q.scales)[step];
            for (long i = 0; i < count(); i++) grad[i] += price[i] * scale * T((theta[i] > 0) - (theta[i] < 0));
        }
        if (free)
            for (long i = 0; i < count(); i++) grad[i] *= free[i];
    }
    double paid(const T* theta, long from) const {
        double sum = 0;
        if (q.price)
            for (long i = 0; i < count(); i++) sum += ((const T*)q.price)[from + i] * std::abs(theta[i]);
        return q.price ? sum * ((const T*)q.scales)[0] : 0;
    }
    long count() const { return c + outputs; }
};

template <class T> void train_rate(const Rate& q) {
    over_members(q.members, q.threads, [&](auto next) {
        RateMember<T> worker(q);
        for (int64_t i; (i = next()) >= 0;) worker.train(i);
    });
}
