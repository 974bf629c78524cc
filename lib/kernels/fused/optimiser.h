// Adam, AdamW and SGD on one member's parameters, and the spreading of members over threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>
#ifndef __wasm__
#include <thread>
#endif

#include "simd.h"

// As lib/kernels/fused/cpp.py lays it out. Arrays have one number for each packed parameter; null arrays mean the number.
struct Optimiser {
    int64_t adam, decoupled;
    double rate, decay, clip, beta1, beta2, eps, momentum;  // clip 0: none
    const double *factors, *unbias1, *unbias2;  // of each step: the schedule's, and for Adam 1/(1 - beta^t)
    const void *rates, *decays;
    void *m, *v;
};

// One member at work: its parameters and moments in padded copies, so that every loop is over whole vectors.
template <class T> class Stepper {
    const Optimiser& o;
    const long from, count, padded;
    T *home, *m, *v, *rate, *decay;

  public:
    T* theta;
    static long pad(long count) { return (count + LANES<T> - 1) / LANES<T> * LANES<T>; }

    // For the member whose `count` parameters start at `from` of all; room for 5 pad(count) zeros at `scratch`.
    Stepper(const Optimiser& o, T* all, long from, long count, T* scratch)
        : o(o), from(from), count(count), padded(pad(count)), home(all + from), m(scratch), v(m + padded),
          rate(v + padded), decay(rate + padded), theta(decay + padded) {
        copy(home, theta);
        if (o.m) copy((const T*)o.m + from, m);
        if (o.v) copy((const T*)o.v + from, v);
        for (long i = 0; i < count; i++) {
            rate[i] = o.rates ? ((const T*)o.rates)[from + i] : T(o.rate);
            decay[i] = o.decays ? ((const T*)o.decays)[from + i] : T(o.decay);
        }
    }
    ~Stepper() {
        copy(theta, home);
        if (o.m) copy(m, (T*)o.m + from);
        if (o.v) copy(v, (T*)o.v + from);
    }
    void copy(const T* source, T* target) const { std::copy(source, source + count, target); }
    // One step along `grad`, pad(count) numbers, zeros at the end; k is the step's number in the tables.
    void step(const T* __restrict grad, int64_t k) {
        const long count = padded & -LANES<T>;  // says to the compiler that nothing is left over
        T scale = 1, factor = o.factors[k], shrink = o.decoupled ? factor : 0, pull = o.decoupled ? 0 : 1;
        if (o.clip) {
            double square = 0;
            for (long i = 0; i < count; i++) square += (double)grad[i] * grad[i];
            double share = o.clip / (std::sqrt(square) + 1e-6);
            scale = share > 1 ? 1 : share;
        }
        T* __restrict theta = this->theta;
        T* __restrict m = this->m;
        T* __restrict v = this->v;
        const T* __restrict rate = this->rate;
        const T* __restrict decay = this->decay;
        if (o.adam) {
            T b1 = 1 - o.beta1, b2 = o.beta2, c2 = 1 - o.beta2, eps = o.eps;
            T unbias1 = o.factors[k] * o.unbias1[k], unbias2 = o.unbias2[k];
            for (long i = 0; i < count; i++) {
                T g = grad[i] * scale + pull * decay[i] * theta[i];
                m[i] += b1 * (g - m[i]);
                v[i] = b2 * v[i] + c2 * g * g;
                T step = rate[i] * unbias1 * m[i] / (std::sqrt(v[i] * unbias2) + eps);
                theta[i] = theta[i] * (1 - shrink * rate[i] * decay[i]) - step;
            }
        } else if (o.momentum) {
            T keep = o.momentum;
            for (long i = 0; i < count; i++) {
                m[i] = keep * m[i] + grad[i] * scale + pull * decay[i] * theta[i];
                theta[i] -= factor * rate[i] * m[i];
            }
        } else {
            for (long i = 0; i < count; i++)
                theta[i] -= factor * rate[i] * (grad[i] * scale + pull * decay[i] * theta[i]);
        }
    }
};

// Calls work(next) on each of `threads` threads; next() hands out members until it answers -1.
template <class Work> void over_members(int64_t members, int64_t threads, Work work) {
    std::atomic<int64_t> counter{0};
    auto next = [&]() -> int64_t {
        int64_t i = counter++;
        return i < members ? i : -1;
    };
#ifdef __wasm__  // the page has its own workers
    work(next);
#else
    std::vector<std::thread> others;
    for (int64_t i = 1; i < std::min(threads, members); i++) others.emplace_back([&] { work(next); });
    work(next);
    for (auto& thread : others) thread.join();
#endif
}

// Trains the members of a job in groups of equal architecture, each with a worker of its group: Member(job, group).
template <class Member, class Job> void over_groups(const Job& q) {
    int64_t members = 0;
    for (int64_t g = 0; g < q.groups; g++) members += q.members[g];
    over_members(members, q.threads, [&](auto next) {
        int64_t group = 0, before = 0, from = 0;  // members and parameters before the group
        auto worker = std::make_unique<Member>(q, 0);
        for (int64_t i; (i = next()) >= 0;) {
            while (i >= before + q.members[group]) {
                before += q.members[group];
                from += q.members[group] * worker->count();
                worker = std::make_unique<Member>(q, ++group);
            }
            worker->train(i, from + (i - before) * worker->count());
        }
    });
}
