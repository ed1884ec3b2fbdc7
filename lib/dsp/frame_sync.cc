/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frame_sync.h"
#include "beta_law.h"
#include "half_symbol.h"
#include "preamble_bank.h"
#include "preamble_fit.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

namespace {

constexpr double least_share2 = 0.25; // of word 2 in what a path holds of both, half on average

sync_settings checked(sync_settings s)
{
    auto refuse = [](const char* name, double value, const char* remedy) {
        throw std::invalid_argument(std::string("frame_sync: ") + name + " is " + std::to_string(value) +
                                    ", use " + remedy);
    };
    if (!(s.max_cfo >= 0 && s.max_cfo <= 16))
        refuse("max_cfo", s.max_cfo, "0 to 16 subcarriers");
    if (!(s.false_alarm_rate > 0 && s.false_alarm_rate <= 0.1))
        refuse("false_alarm_rate", s.false_alarm_rate, "a probability per sample, above 0 and at most 0.1");
    if (!(s.coarse_pass > 0 && s.coarse_pass <= 1))
        refuse("coarse_pass", s.coarse_pass, "a share of the samples, above 0 and at most 1");
    return s;
}

} // namespace

class frame_sync::impl
{
public:
    impl(const ofdm_geometry& geometry, const sync_settings& settings)
        : g(geometry), s(checked(settings)), bank((g.normalise(), g), s.max_cfo), fit(g),
          correlation(size_t(g.fft_len / 2), size_t(g.fft_len / 2 + g.cp_len))
    {
        half = g.fft_len / 2;
        lags = half + g.cp_len;
        for (int i = 0; i < g.fft_len; i++)
            if (g.sync_word1[i] != cf(0))
                half_sign = (i - g.fft_len / 2) % 2 ? -1.0f : 1.0f;
        peak_half = 3 * g.cp_len / 2;
        search = 2 * g.cp_len;
        // Two (nearly) independent vectors of `lags` noise samples: the squared coherence is Beta(1, lags -
        // 1).
        coarse_threshold = 1 - std::pow(s.coarse_pass, 1.0 / (lags - 1));
        const int n = g.preamble_len(), wide = n + g.cp_len - 1, d = 2 * g.cp_len;
        const double tail = s.false_alarm_rate / 2 / double(bank.size());
        threshold_a = beta_threshold(2, n - 2, tail);
        threshold_b = beta_threshold(d, wide - d, tail);
        delays = size_t(2 * search + g.cp_len);
        before = size_t(peak_half + search + 1);
        after = size_t(peak_half + search) + 2 * size_t(g.cp_len) + size_t(n) + size_t(lags + half);
        hop = std::max<size_t>(256, after);
        c1.resize(delays);
        c2.resize(delays);
        profile.resize(delays);
        best_profile.resize(delays);
        reset(0);
    }

    void reset(uint64_t first)
    {
        start = int64_t(first);
        next = start - g.cp_len; // noise may put the first stage's peak a little early
        base = next - int64_t(before);
        buffer.assign(size_t(start - base), cf(0)); // the stream is silent before it starts
        pending.clear();
    }

    void process(const cf* in, size_t n, std::vector<sync_frame>& frames)
    {
        while (n > 0) {
            const size_t take = std::min(n, hop);
            const size_t old = buffer.size();
            buffer.insert(buffer.end(), in, in + take);
            bad += zero_bad_samples(reinterpret_cast<float*>(buffer.data() + old), take);
            in += take;
            n -= take;
            while (base + int64_t(buffer.size()) >= next + int64_t(hop + after)) {
                block();
                next += int64_t(hop);
                const auto drop = size_t(next - int64_t(before) - base);
                buffer.erase(buffer.begin(), buffer.begin() + long(drop));
                base += int64_t(drop);
                report(next - settle(), frames);
            }
        }
    }

    void flush(std::vector<sync_frame>& frames)
    {
        const int64_t end = base + int64_t(buffer.size());
        const std::vector<cf> zeros(hop);
        while (next < end)
            process(zeros.data(), zeros.size(), frames);
        report(INT64_MAX, frames);
        reset(uint64_t(end));
    }

    //! A frame further back than this from the next block can no longer be replaced by a better one.
    int64_t settle() const { return search + g.cp_len + g.preamble_len(); }

    void report(int64_t until, std::vector<sync_frame>& frames)
    {
        size_t done = 0;
        while (done < pending.size() && int64_t(pending[done].offset) < until)
            frames.push_back(pending[done++]);
        pending.erase(pending.begin(), pending.begin() + long(done));
    }

    void block()
    {
        const size_t count = hop + 2 * size_t(peak_half);
        correlation.process(buffer.data() + (next - peak_half - base), count);
        const auto& metric = correlation.squared_coherence();
        for (size_t t = size_t(peak_half); t < count - size_t(peak_half); t++)
            if (metric[t] > coarse_threshold && is_peak(t))
                examine(next - peak_half + int64_t(t), correlation.at(t));
    }

    bool is_peak(size_t t) const
    {
        const auto& metric = correlation.squared_coherence();
        for (int i = 1; i <= peak_half; i++)
            if (metric[t - i] >= metric[t] || metric[t + i] > metric[t])
                return false;
        return true;
    }

    //! Stage 2 around sample number \p t, whose half-symbol correlation is \p p.
    void examine(int64_t t, cd p)
    {
        candidates++;
        const cf* y = buffer.data() + (t - search - base);
        const double fraction = std::arg(p * double(half_sign)) / M_PI;
        const int turns = int(s.max_cfo / 2) + 1;
        int best_grid = 0;
        double best = 0;
        for (int k = -turns; k <= turns; k++) {
            const int grid = int(std::lround((fraction + 2 * k) * preamble_bank::steps_per_carrier));
            if (grid < bank.first() || grid > bank.last())
                continue;
            const double score = evaluate(grid, y, delays);
            if (score > best) {
                best = score;
                best_grid = grid;
                best_profile = profile;
                best_word2 = word2;
                best_at = strongest_window();
                best_turn = between_symbols();
            }
        }
        if (best > 1)
            found(t - search, y, best_grid, best);
    }

    /*! Fills profile[t] = |c1|^2/e1 + |c2|^2/e2 and returns the larger of A, B over their thresholds. */
    double evaluate(int grid, const cf* y, size_t count)
    {
        bank.correlate(grid, y, count, c1.data(), c2.data());
        word2.resize(count);
        for (size_t t = 0; t < count; t++) {
            word2[t] = std::norm(c2[t]) / bank.energy2();
            profile[t] = std::norm(c1[t]) / bank.energy1() + word2[t];
        }
        double best = 0;
        for_each_window(y, count, [&](size_t, double a, double b) {
            best = std::max(best, std::max(a / threshold_a, b / threshold_b));
        });
        return best;
    }

    //! Calls f(t, A, B) for every t that has cp_len delays behind it.
    template <typename F>
    void for_each_window(const cf* y, size_t count, F&& f) const
    {
        const size_t n = size_t(g.preamble_len()), cp = size_t(g.cp_len);
        double narrow = 0, wide = 0, sum = 0;
        for (size_t i = 0; i < n; i++)
            narrow += std::norm(cd(y[i]));
        wide = narrow;
        for (size_t i = n; i < n + cp - 1; i++)
            wide += std::norm(cd(y[i]));
        for (size_t i = 0; i < cp; i++)
            sum += profile[i];
        for (size_t t = 0; t + cp <= count; t++) {
            f(t, narrow > 0 ? profile[t] / narrow : 0, wide > 0 ? sum / (bank.lambda() * wide) : 0);
            if (t + cp < count) {
                narrow += std::norm(cd(y[t + n])) - std::norm(cd(y[t]));
                wide += std::norm(cd(y[t + n + cp - 1])) - std::norm(cd(y[t]));
                sum += profile[t + cp] - profile[t];
            }
        }
    }

    //! Delay of the strongest path inside the strongest window of cp_len delays.
    size_t strongest_window() const
    {
        const size_t cp = size_t(g.cp_len);
        double sum = 0, most = -1;
        size_t at = 0;
        for (size_t t = 0; t < profile.size(); t++) {
            sum += profile[t];
            if (t >= cp)
                sum -= profile[t - cp];
            if (t + 1 >= cp && sum > most) {
                most = sum;
                at = t + 1 - cp;
            }
        }
        const auto from = profile.begin() + long(at);
        return size_t(std::max_element(from, from + long(cp)) - profile.begin());
    }

    //! Sum of c2 c1* over the paths near the strongest: its phase is what the CFO does in one symbol.
    cd between_symbols() const
    {
        const size_t low = best_at > size_t(g.cp_len) ? best_at - size_t(g.cp_len) : 0;
        const size_t high = std::min(profile.size(), best_at + size_t(g.cp_len));
        cd sum = 0;
        for (size_t t = low; t < high; t++)
            if (profile[t] > 0.05 * profile[best_at])
                sum += cd(c2[t]) * std::conj(cd(c1[t]));
        return sum;
    }

    void found(int64_t origin, const cf* y, int grid, double score)
    {
        // The first path: not later than the strongest, within a prefix, above -10 dB and the noise floor.
        std::vector<double> sorted(best_profile);
        std::nth_element(sorted.begin(), sorted.begin() + long(sorted.size() / 4), sorted.end());
        const double least = std::max(0.1 * best_profile[best_at], 10 * sorted[sorted.size() / 4]);
        // Half a symbol earlier word 1 looks like itself, and word 2 does not: what holds of word 1 alone
        // is no path.
        const size_t reach = size_t(std::min(g.cp_len - 1, g.fft_len / 2 - g.fft_len / 16));
        size_t first = best_at;
        for (size_t t = best_at > reach ? best_at - reach : 0; t < best_at; t++)
            if (best_profile[t] > least && best_word2[t] > least_share2 * best_profile[t]) {
                first = t;
                break;
            }
        sync_frame f;
        int64_t offset = origin + int64_t(first);
        if (offset < start) { // at the very start of the stream: what is before it does not exist
            if (offset < start - g.cp_len / 2)
                return;
            first += size_t(start - offset);
            offset = start;
        }
        f.offset = uint64_t(offset);
        f.cfo = preamble_bank::cfo(grid) + std::arg(best_turn) * g.fft_len / (2 * M_PI * g.symbol_len());
        f.metric = score;
        const auto r = fit(y + first, f.cfo);
        f.noise_var = r.noise_var;
        f.power = r.power;
        f.snr_db = 10 * std::log10(std::max(r.power, 1e-30) / std::max(r.noise_var, 1e-30));
        while (!pending.empty() && offset - int64_t(pending.back().offset) < g.preamble_len()) {
            if (pending.back().metric >= score)
                return;
            pending.pop_back();
        }
        pending.push_back(f);
    }

    ofdm_geometry g;
    const sync_settings s;
    preamble_bank bank;
    preamble_fit fit;
    int half = 0, lags = 0, peak_half = 0, search = 0;
    float half_sign = 1;
    double coarse_threshold = 0, threshold_a = 0, threshold_b = 0;
    size_t delays = 0, before = 0, after = 0, hop = 0;
    uint64_t candidates = 0, bad = 0;

    int64_t start = 0, next = 0, base = 0; // sample numbers: of the stream, the next block, buffer[0]
    std::vector<cf> buffer;
    std::vector<sync_frame> pending;

    half_symbol_correlation correlation;
    std::vector<double> profile, best_profile, word2, best_word2; // the latter two: what word 2 has of it
    std::vector<cf> c1, c2;
    size_t best_at = 0;
    cd best_turn = 0;
};

frame_sync::frame_sync(const ofdm_geometry& geometry, const sync_settings& settings)
    : d_impl(std::make_unique<impl>(geometry, settings))
{
}
frame_sync::~frame_sync() = default;

void frame_sync::process(const cf* in, size_t n, std::vector<sync_frame>& frames)
{
    d_impl->process(in, n, frames);
}

void frame_sync::flush(std::vector<sync_frame>& frames) { d_impl->flush(frames); }
void frame_sync::reset(uint64_t first) { d_impl->reset(first); }
uint64_t frame_sync::decided() const
{
    return uint64_t(std::max<int64_t>(d_impl->next - d_impl->settle(), d_impl->start));
}

size_t frame_sync::latency() const { return d_impl->hop + d_impl->after + size_t(d_impl->settle()); }
const ofdm_geometry& frame_sync::geometry() const { return d_impl->g; }
const sync_settings& frame_sync::settings() const { return d_impl->s; }
double frame_sync::threshold_one_path() const { return d_impl->threshold_a; }
double frame_sync::threshold_multipath() const { return d_impl->threshold_b; }
double frame_sync::threshold_coarse() const { return d_impl->coarse_threshold; }
size_t frame_sync::hypotheses() const { return d_impl->bank.size(); }
uint64_t frame_sync::candidates() const { return d_impl->candidates; }
uint64_t frame_sync::bad_samples() const { return d_impl->bad; }
size_t frame_sync::window() const { return size_t(d_impl->g.preamble_len() + d_impl->g.cp_len - 1); }

void frame_sync::statistics(const cf* in, size_t n, double cfo, std::vector<double>& one_path,
                            std::vector<double>& multipath) const
{
    const auto& bank = d_impl->bank;
    const int grid = int(std::lround(cfo * preamble_bank::steps_per_carrier));
    if (grid < bank.first() || grid > bank.last())
        throw std::invalid_argument("frame_sync: cfo is " + std::to_string(cfo) + ", beyond max_cfo");
    one_path.clear();
    multipath.clear();
    if (n < window())
        return;
    impl work(d_impl->g, d_impl->s);
    const size_t count = n - size_t(work.g.preamble_len()) + 1;
    work.c1.resize(count);
    work.c2.resize(count);
    work.profile.resize(count);
    work.evaluate(grid, in, count);
    work.for_each_window(in, count, [&](size_t, double a, double b) {
        one_path.push_back(a);
        multipath.push_back(b);
    });
}

} // namespace gr::diffusion::dsp
