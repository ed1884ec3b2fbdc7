/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "interpolate.h"
#include <gnuradio/diffusion/table.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <semaphore.h>
#include <random>
#include <stdexcept>
#include <thread>
#ifdef __linux__
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace gr::diffusion::engine {

namespace {

using cf = std::complex<float>;
constexpr size_t probes = 8192;
constexpr size_t part = 128; // observations between two looks at whether the table is still wanted
constexpr std::chrono::milliseconds min_interval{ 50 };

struct map_table {
    plane_grid symbols, soft;
    tabulated_receiver::accuracy_figures figures;
    map_table* next = nullptr; // in the list of tables to be freed
};

//! The thread that calls this yields to those that stream: a table is never urgent. Started by a real-time
//! thread it would be one itself.
void give_way()
{
#ifdef __linux__
    const sched_param normal{};
    pthread_setschedparam(pthread_self(), SCHED_OTHER, &normal);
    setpriority(PRIO_PROCESS, id_t(syscall(SYS_gettid)), getpriority(PRIO_PROCESS, 0) + 5);
#endif
}

//! Observations where the table is used: symbols in noise, the rest evenly over the grid.
std::vector<cf> probe_points(const std::vector<cf>& points, double noise_var, double extent)
{
    std::mt19937 random(1);
    std::normal_distribution<float> noise(0, float(std::sqrt(noise_var / 2)));
    std::uniform_real_distribution<float> flat(float(-extent), float(extent));
    std::vector<cf> y(2 * probes);
    for (size_t i = 0; i < probes; i++) {
        const float re = noise(random), im = noise(random);
        y[i] = cf(re, im) + (points.empty() ? cf(0) : points[random() % points.size()]);
    }
    for (size_t i = probes; i < y.size(); i++) {
        const float re = flat(random);
        y[i] = { re, flat(random) };
    }
    return y;
}

} // namespace

struct tabulated_receiver::impl {
    struct link {
        double noise_var = 0.1;
        bool has_context = false, has_law = false;
        std::vector<float> context;
        std::vector<double> q2, q1;
        size_t steps = 1;
        uint64_t serial = 0; // of the request
    };

    impl(model::sptr m, size_t steps, const config& c) : cfg(c), exact(std::move(m), steps)
    {
        if (c.nodes < 16 || c.nodes > 1024 || c.max_nodes > 1024)
            throw std::invalid_argument("table: nodes is " + std::to_string(c.nodes) + ", use 16 to 1024");
        if (!(c.step_db >= 0) || !(c.target_rms > 0))
            throw std::invalid_argument("table: step_db must be >= 0 and target_rms > 0");
        const size_t points = exact.get_model().constellation().size();
        if (c.soft_bits && points == 0)
            throw std::invalid_argument("model '" + exact.get_model().name() + "' has no constellation, hence no soft bits");
        wanted.context.resize(exact.conditions());
        wanted.q2.resize(5 * points);
        wanted.q1.resize(points);
        wanted.noise_var = c.noise_var;
        wanted.steps = exact.steps();
        for (link& l : slots)
            l = wanted;
        sem_init(&work_to_do, 0, 0);
        if (!c.deferred)
            in_use = build(wanted);
        worker = std::thread([this] { work(); });
    }

    ~impl()
    {
        {
            std::lock_guard<std::mutex> lock(mutex);
            stopping = true;
        }
        pause.notify_all();
        sem_post(&work_to_do);
        worker.join(); // it looks at `stopping` every few microseconds of work
        sem_destroy(&work_to_do);
        delete in_use;
        delete pending.load();
        free_retired();
    }

    const config cfg;
    receiver exact; // the worker's, after construction
    map_table* in_use = nullptr; // process()'s
    std::atomic<map_table*> pending{ nullptr }, retired{ nullptr };
    std::atomic<uint64_t> built{ 0 }, bad{ 0 };
    std::atomic<uint64_t> requested{ 0 }, served{ 0 }; // changes asked for, changes that have their table
    std::atomic<bool> good{ false }, stopping{ false };

    /* What is wanted goes to the worker through three slots: one that a setter fills, one that the worker reads, and
     * the newest between them, exchanged by one atomic index. The worker has low priority, so a setter that waited
     * for a lock of its would wait for as long as the machine has better to do; setters run in blocks' threads. */
    std::mutex setters; // of wanted and filling
    link wanted, slots[3];
    unsigned filling = 0, reading = 1; // reading is the worker's
    static constexpr unsigned fresh_slot = 4; // set in `newest`: the worker has not seen it
    std::atomic<unsigned> newest{ 2 };
    sem_t work_to_do;

    mutable std::mutex mutex; // of figures; taken by the worker and those who ask or wait, never by process() or setters
    std::condition_variable pause, done;
    accuracy_figures figures;
    std::thread worker;

    //! The exact network on n observations, in parts so that the end of this object need not wait for it.
    void run_exact(const cf* y, cf* x_hat, float* llr, size_t n)
    {
        const size_t bits = exact.get_model().bits_per_symbol();
        for (size_t i = 0; i < n && !stopping; i += part) {
            std::this_thread::yield(); // a stream waits some microseconds for this core, not a time slice
            exact.process(y + i, x_hat ? x_hat + i : nullptr, llr ? llr + i * bits : nullptr, std::min(part, n - i));
        }
    }

    void fill(map_table& t, size_t nodes, double extent)
    {
        const model& m = exact.get_model();
        if (cfg.symbols)
            t.symbols = plane_grid(nodes, extent, 2);
        if (cfg.soft_bits)
            t.soft = plane_grid(nodes, extent, m.bits_per_symbol());
        const plane_grid& grid = cfg.symbols ? t.symbols : t.soft;
        std::vector<cf> y(nodes), x(nodes);
        std::vector<float> llr(nodes * std::max(1, m.bits_per_symbol()));
        for (size_t row = 0; row < nodes && !stopping; row++) {
            for (size_t i = 0; i < nodes; i++)
                y[i] = { float(grid.coordinate(i)), float(grid.coordinate(row)) };
            run_exact(y.data(), cfg.symbols ? x.data() : nullptr, cfg.soft_bits ? llr.data() : nullptr, nodes);
            for (size_t i = 0; i < nodes && cfg.symbols; i++) {
                t.symbols.node(row, i)[0] = x[i].real();
                t.symbols.node(row, i)[1] = x[i].imag();
            }
            for (size_t i = 0; i < nodes && cfg.soft_bits; i++)
                std::copy_n(&llr[i * t.soft.channels], t.soft.channels, t.soft.node(row, i));
        }
        if (cfg.soft_bits)
            t.soft.compact();
    }

    accuracy_figures measure(const map_table& t, size_t nodes, double extent)
    {
        accuracy_figures f;
        f.probes = 2 * probes;
        f.nodes = nodes;
        f.extent = extent;
        f.noise_var = exact.noise_var();
        const auto y = probe_points(exact.get_model().constellation(), exact.noise_var(), extent);
        const size_t bits = exact.get_model().bits_per_symbol();
        std::vector<cf> x(y.size()), approximate(y.size());
        std::vector<float> llr(y.size() * std::max<size_t>(1, bits)), approximate_llr(llr.size());
        run_exact(y.data(), cfg.symbols ? x.data() : nullptr, cfg.soft_bits ? llr.data() : nullptr, y.size());
        if (cfg.symbols) {
            interpolate(t.symbols, y.data(), reinterpret_cast<float*>(approximate.data()), y.size());
            for (size_t i = 0; i < y.size(); i++) {
                const double e = std::norm(x[i] - approximate[i]);
                f.rms += i < probes ? e / double(probes) : 0;
                f.worst = std::max(f.worst, std::sqrt(e));
            }
            f.rms = std::sqrt(f.rms);
        }
        if (cfg.soft_bits) {
            interpolate(t.soft, y.data(), approximate_llr.data(), y.size());
            for (size_t i = 0; i < probes * bits; i++)
                f.rms_soft += std::pow(std::tanh(llr[i] / 2) - std::tanh(approximate_llr[i] / 2), 2) / double(probes * bits);
            f.rms_soft = std::sqrt(f.rms_soft);
        }
        return f;
    }

    bool good_enough(const accuracy_figures& f) const { return f.rms <= cfg.target_rms && f.rms_soft <= 10 * cfg.target_rms; }

    map_table* build(const link& l)
    {
        if (exact.steps() != l.steps)
            exact.set_steps(l.steps);
        exact.set_link(l.noise_var, l.has_context ? l.context.data() : nullptr, l.has_law ? l.q2.data() : nullptr,
                       l.has_law ? l.q1.data() : nullptr);
        double widest = 1;
        for (const auto& p : exact.get_model().constellation())
            widest = std::max<double>({ widest, std::abs(p.real()), std::abs(p.imag()) });
        // Beyond the outermost points' noise the map is flat; half as much again for links with gain.
        const double extent = 1.25 * widest + 4 * std::sqrt(l.noise_var / 2);
        auto t = std::make_unique<map_table>();
        for (size_t nodes = cfg.nodes;; nodes *= 2) {
            fill(*t, nodes, extent);
            t->figures = measure(*t, nodes, extent);
            if (good_enough(t->figures) || 2 * nodes > cfg.max_nodes || stopping)
                break;
        }
        built++;
        good = good_enough(t->figures);
        std::lock_guard<std::mutex> lock(mutex);
        figures = t->figures;
        return t.release();
    }

    void free_retired()
    {
        for (map_table* t = retired.exchange(nullptr); t;) {
            map_table* next = t->next;
            delete t;
            t = next;
        }
    }

    void work()
    {
        give_way();
        while (!stopping) {
            if (!(newest.load(std::memory_order_acquire) & fresh_slot)) {
                sem_wait(&work_to_do);
                continue;
            }
            reading = newest.exchange(reading, std::memory_order_acq_rel) & ~fresh_slot;
            const auto begun = std::chrono::steady_clock::now();
            map_table* fresh = build(slots[reading]);
            delete pending.exchange(fresh); // one that was never taken over
            free_retired();
            std::unique_lock<std::mutex> lock(mutex);
            served = slots[reading].serial;
            done.notify_all();
            // A level that jitters must not cost a core.
            pause.wait_until(lock, begun + min_interval, [this] { return stopping.load(); });
        }
    }

    template <typename F>
    void change(F&& f)
    {
        std::lock_guard<std::mutex> lock(setters);
        if (!f(wanted) && (requested > 0 || !cfg.deferred))
            return;
        wanted.serial = ++requested;
        slots[filling] = wanted; // of the same sizes: no memory is taken
        const unsigned before = newest.exchange(filling | fresh_slot, std::memory_order_acq_rel);
        filling = before & ~fresh_slot;
        if (!(before & fresh_slot)) // else the worker has been told, and finds this one
            sem_post(&work_to_do);
    }

    //! Whether two levels are too far apart to share a table.
    bool far(double a, double b) const { return std::abs(10 * std::log10(a / b)) > cfg.step_db; }

    //! Whether only the noise level differs, and too little to count. An ideal link's coefficients
    //! are inversely proportional to it; a fitted link's are not, so that one is tabulated anew.
    bool same_link(const link& l, double noise_var, const float* context, const double* q2, const double* q1) const
    {
        if (far(noise_var, l.noise_var) || l.has_context != bool(context) || l.has_law != bool(q2 && q1))
            return false;
        if (context && l.context.size() > 1 && !std::equal(l.context.begin() + 1, l.context.end(), context + 1))
            return false;
        auto proportional = [&](const std::vector<double>& old, const double* fresh) {
            for (size_t i = 0; i < old.size(); i++)
                if (std::abs(fresh[i] * noise_var - old[i] * l.noise_var) > 1e-9 * (1 + std::abs(fresh[i] * noise_var)))
                    return false;
            return true;
        };
        return !l.has_law || (proportional(l.q2, q2) && proportional(l.q1, q1));
    }

    void take_over()
    {
        if (!pending.load(std::memory_order_relaxed))
            return;
        map_table* fresh = pending.exchange(nullptr, std::memory_order_acquire);
        if (!fresh)
            return;
        map_table* old = std::exchange(in_use, fresh);
        if (!old)
            return;
        old->next = retired.load(std::memory_order_relaxed);
        while (!retired.compare_exchange_weak(old->next, old, std::memory_order_release, std::memory_order_relaxed))
            ;
    }
};

namespace {

void check_noise(double noise_var)
{
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) + ", use a positive variance E|n|^2");
}

} // namespace

tabulated_receiver::tabulated_receiver(model::sptr m, size_t steps, const config& c)
{
    check_noise(c.noise_var);
    d = std::make_unique<impl>(std::move(m), steps, c);
}

tabulated_receiver::~tabulated_receiver() = default;

void tabulated_receiver::set_noise_var(double noise_var)
{
    check_noise(noise_var);
    d->change([&](impl::link& l) {
        // Compared with what was asked for last, so that a slow drift is followed too.
        if (!l.has_context && !l.has_law && !d->far(noise_var, l.noise_var))
            return false;
        l.noise_var = noise_var;
        l.has_context = l.has_law = false;
        return true;
    });
}

void tabulated_receiver::set_link(double noise_var, const float* context, const double* q2, const double* q1)
{
    check_noise(noise_var);
    d->change([&](impl::link& l) {
        if (d->same_link(l, noise_var, context, q2, q1))
            return false;
        l.noise_var = noise_var;
        l.has_context = context;
        l.has_law = q2 && q1;
        if (context)
            std::copy_n(context, l.context.size(), l.context.data());
        if (l.has_law) {
            std::copy_n(q2, l.q2.size(), l.q2.data());
            std::copy_n(q1, l.q1.size(), l.q1.data());
        }
        return true;
    });
}

void tabulated_receiver::set_steps(size_t steps)
{
    if (steps < 1 || steps > receiver::max_steps)
        throw std::invalid_argument("steps is " + std::to_string(steps) + ", use 1 to " +
                                    std::to_string(receiver::max_steps));
    d->change([&](impl::link& l) { return std::exchange(l.steps, steps) != steps; });
}

void tabulated_receiver::wait()
{
    std::unique_lock<std::mutex> lock(d->mutex);
    d->done.wait(lock, [this] { return d->served == d->requested; });
}

bool tabulated_receiver::available() const { return d->in_use || d->pending.load(std::memory_order_relaxed); }

bool tabulated_receiver::process(const cf* y, cf* x_hat, float* llr, size_t n)
{
    d->take_over();
    if (!d->in_use)
        return false;
    uint64_t bad = 0;
    if (x_hat && d->cfg.symbols)
        bad = interpolate(d->in_use->symbols, y, reinterpret_cast<float*>(x_hat), n);
    if (llr && d->cfg.soft_bits)
        bad = interpolate(d->in_use->soft, y, llr, n);
    if (bad)
        d->bad += bad;
    return true;
}

tabulated_receiver::accuracy_figures tabulated_receiver::accuracy() const
{
    std::lock_guard<std::mutex> lock(d->mutex);
    return d->figures;
}

bool tabulated_receiver::usable() const { return d->good && d->served == d->requested; }
uint64_t tabulated_receiver::tables_built() const { return d->built; }
uint64_t tabulated_receiver::bad_samples() const { return d->bad; }

} // namespace gr::diffusion::engine
