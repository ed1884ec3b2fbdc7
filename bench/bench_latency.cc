/* SPDX-License-Identifier: GPL-3.0-or-later */
// How long the scheduler's calls into denoiser_cc take: bench_latency SECONDS runs each of four settings for
// so long without a break and writes JSON. The block is the real one, subclassed so that the clocks are read
// outside of it; source and sink run on the other cores at full speed. Of every call: time by the clock, CPU
// time of the thread, how often the system took the core away (involuntary switches) and what pages had to be
// found. So a late call says whether it is ours.
#include "blocks/denoiser_cc_impl.h"
#include <gnuradio/blocks/null_sink.h>
#include <gnuradio/blocks/vector_source.h>
#include <gnuradio/io_signature.h>
#include <gnuradio/top_block.h>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <sys/resource.h>
#include <thread>

using namespace gr::diffusion;
using clock_type = std::chrono::steady_clock;

namespace {

constexpr double first_noise_var = 0.05;

//! Counts by logarithm: 1% wide up to an hour, no allocation when counting.
class histogram
{
public:
    void count(double us)
    {
        const double bin = us > 0.01 ? 70 * std::log2(us / 0.01) : 0;
        d_counts[std::min(size_t(bin), bins - 1)]++;
        d_total++;
        d_largest = std::max(d_largest, us);
        d_long += us > 5000;
    }
    double quantile(double share) const
    {
        uint64_t sum = 0;
        for (size_t i = 0; i < bins; i++)
            if ((sum += d_counts[i]) >= share * double(d_total))
                return 0.01 * std::exp2((double(i) + 0.5) / 70);
        return d_largest;
    }
    double largest() const { return d_largest; }
    uint64_t total() const { return d_total; }
    uint64_t above_5_ms() const { return d_long; }

private:
    static constexpr size_t bins = 3000;
    uint64_t d_counts[bins] = {}, d_total = 0, d_long = 0;
    double d_largest = 0;
};

//! What the system did with the calling thread so far.
struct thread_state {
    double cpu_us;
    long involuntary, voluntary, minor_faults, major_faults;

    static thread_state now()
    {
        timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        rusage u;
        getrusage(RUSAGE_THREAD, &u);
        return { 1e6 * double(t.tv_sec) + 1e-3 * double(t.tv_nsec), u.ru_nivcsw, u.ru_nvcsw, u.ru_minflt,
                 u.ru_majflt };
    }
    thread_state since(const thread_state& before) const
    {
        return { cpu_us - before.cpu_us, involuntary - before.involuntary, voluntary - before.voluntary,
                 minor_faults - before.minor_faults, major_faults - before.major_faults };
    }
};

struct late_call {
    double us;
    thread_state spent;
};

class timed_denoiser : public denoiser_cc_impl
{
public:
    explicit timed_denoiser(const char* mode) // a virtual base is initialised here
        : gr::sync_block("denoiser_cc",
                         gr::io_signature::make(1, 1, sizeof(gr_complex)),
                         gr::io_signature::make(1, 1, sizeof(gr_complex))),
          denoiser_cc_impl("rx-qam16", first_noise_var, 0, mode)
    {
    }
    int work(int n, gr_vector_const_void_star& in, gr_vector_void_star& out) override
    {
        const thread_state before = thread_state::now();
        const auto begun = clock_type::now();
        const int done = denoiser_cc_impl::work(n, in, out);
        const double us = std::chrono::duration<double, std::micro>(clock_type::now() - begun).count();
        const thread_state spent = thread_state::now().since(before);
        if (n != max_noutput_items())
            return done; // full batches only
        calls.count(us);
        cpu.count(spent.cpu_us);
        switches += uint64_t(spent.involuntary);
        faults += uint64_t(spent.minor_faults + spent.major_faults);
        if (us > 5000 && n_late < late.size())
            late[n_late++] = { us, spent };
        return done;
    }
    histogram calls, cpu; // cpu: without the time that the system gave to others
    uint64_t switches = 0, faults = 0;
    std::array<late_call, 20> late; // the first ones
    size_t n_late = 0;
};

//! \param moving the noise level moves by 1 dB twenty times a second, so that tables are made all the time
void measure(const char* name, const char* mode, int batch, bool moving, double seconds, bool last)
{
    // 16-QAM at the mean of the noise levels that are set: what the guard has nothing to say about.
    std::mt19937 random(1);
    std::uniform_int_distribution<int> level(0, 3);
    std::normal_distribution<float> normal(0, float(std::sqrt(0.5 * first_noise_var * (moving ? 1.12 : 1))));
    const auto rail = [&] { return float(2 * level(random) - 3) / std::sqrt(10.0f) + normal(random); };
    std::vector<gr_complex> y(65536);
    for (auto& v : y)
        v = { rail(), rail() };
    auto top = gr::make_top_block(name);
    auto source = gr::blocks::vector_source_c::make(y, true);
    auto block = gnuradio::make_block_sptr<timed_denoiser>(mode);
    auto sink = gr::blocks::null_sink::make(sizeof(gr_complex));
    block->set_max_noutput_items(batch);
    top->connect(source, 0, block, 0);
    top->connect(block, 0, sink, 0);
    const auto end = clock_type::now() + std::chrono::duration<double>(seconds);
    top->start();
    for (int i = 0; clock_type::now() < end; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        if (moving)
            block->set_noise_var(first_noise_var * std::pow(10, 0.1 * (i % 2)));
    }
    top->stop();
    top->wait();
    const histogram &h = block->calls, &c = block->cpu;
    std::printf(
        "  \"%s_%d\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"p50_cpu\": %.3f, \"p99_cpu\": %.3f, "
        "\"max_cpu\": %.3f, \"calls\": %llu, \"above_5_ms\": %llu, \"above_5_ms_cpu\": %llu, "
        "\"involuntary\": %llu, "
        "\"page_faults\": %llu, \"seconds\": %.1f,\n    \"late\": [",
        name, batch, h.quantile(0.5), h.quantile(0.99), h.largest(), c.quantile(0.5), c.quantile(0.99),
        c.largest(), (unsigned long long)h.total(), (unsigned long long)h.above_5_ms(),
        (unsigned long long)c.above_5_ms(), (unsigned long long)block->switches,
        (unsigned long long)block->faults, seconds);
    for (size_t i = 0; i < block->n_late; i++) {
        const late_call& l = block->late[i];
        std::printf("%s{\"us\": %.0f, \"cpu_us\": %.0f, \"involuntary\": %ld, \"voluntary\": %ld, "
                    "\"minor_faults\": %ld, "
                    "\"major_faults\": %ld}",
                    i ? ", " : "", l.us, l.spent.cpu_us, l.spent.involuntary, l.spent.voluntary,
                    l.spent.minor_faults, l.spent.major_faults);
    }
    std::printf("]}%s\n", last ? "" : ",");
    std::fflush(stdout);
}

} // namespace

int main(int argc, char** argv)
{
    const double seconds = argc == 2 ? std::atof(argv[1]) : 0;
    if (!(seconds > 0)) {
        std::fprintf(stderr, "usage: bench_latency SECONDS (of each of four settings)\n");
        return 2;
    }
    std::printf("{\n");
    for (int batch : { 64, 1024 }) {
        measure("denoiser_cc_exact", "exact", batch, false, seconds, false);
        measure("denoiser_cc_table", "table", batch, true, seconds, batch == 1024);
    }
    std::printf("}\n");
    return 0;
}
