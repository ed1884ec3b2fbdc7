/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/interpolate.h"
#include "receiver_file.h"
#include <gnuradio/diffusion/table.h>
#include <boost/test/unit_test.hpp>
#include <atomic>
#include <thread>

using namespace gr::diffusion::engine;
using cf = std::complex<float>;

namespace {

std::vector<cf> observations(size_t n, float scale = 0.8f)
{
    std::mt19937 random(9);
    std::normal_distribution<float> normal(0, scale);
    std::vector<cf> y(n);
    for (auto& v : y)
        v = { normal(random), normal(random) };
    return y;
}

model::sptr gentle() { return model::parse("test", receiver_file(16, true, { 16 }).bytes()); }

} // namespace

BOOST_AUTO_TEST_CASE(bilinear_maps_are_exact)
{
    for (size_t channels : { 1, 2, 4, 6, 8 }) {
        plane_grid grid(33, 2, channels);
        auto value = [](double re, double im, size_t c) {
            return double(c + 1) * re - 2 * im + 0.5 * re * im + double(c);
        };
        for (size_t r = 0; r < 33; r++)
            for (size_t i = 0; i < 33; i++)
                for (size_t c = 0; c < channels; c++)
                    grid.node(r, i)[c] = float(value(grid.coordinate(i), grid.coordinate(r), c));
        auto y = observations(1001);
        y[5] = { 2, 2 };
        y[6] = { -2, -2 };
        y[7] = { 7, -100 }; // the edge's value
        y[8] = { NAN, 1 };
        y[9] = { HUGE_VALF, -HUGE_VALF };
        std::vector<float> out(y.size() * channels + 1, -7);
        BOOST_TEST(interpolate(grid, y.data(), out.data(), y.size()) == 2u);
        BOOST_TEST(out.back() == -7);
        for (size_t i = 0; i < y.size(); i++) {
            auto held = [](float x) {
                return std::isnan(x) ? 0.0 : std::min(std::max(double(x), -2.0), 2.0);
            };
            for (size_t c = 0; c < channels; c++)
                BOOST_TEST(std::abs(out[i * channels + c] - value(held(y[i].real()), held(y[i].imag()), c)) <
                           1e-4);
        }
        for (size_t n : { 1, 2, 3, 63, 64, 65 }) { // whatever the cut
            std::vector<float> part(n * channels);
            interpolate(grid, y.data(), part.data(), n);
            BOOST_TEST(std::equal(part.begin(), part.end(), out.begin()));
        }
    }
}

BOOST_AUTO_TEST_CASE(compact_grids_keep_three_digits_and_their_place)
{
    for (size_t channels : { 1, 2, 3, 4, 5, 6, 8, 9 }) {
        plane_grid grid(33, 2, channels);
        for (size_t i = 0; i < grid.values.size(); i++)
            grid.values[i] = float(std::sin(double(i)) * std::exp(double(i % 9) - 4));
        plane_grid small = grid;
        small.compact();
        const auto y = observations(999);
        std::vector<float> expected(y.size() * channels), out(y.size() * channels + 1, -7);
        interpolate(grid, y.data(), expected.data(), y.size());
        interpolate(small, y.data(), out.data(), y.size());
        BOOST_TEST(out.back() == -7);
        for (size_t i = 0; i < expected.size(); i++)
            BOOST_TEST(std::abs(out[i] - expected[i]) < 0.06); // 2^-11 of up to 55 at the nodes
        for (size_t n : { 1, 2, 3, 9, 63, 64, 65 }) { // whatever the cut
            std::vector<float> part(n * channels + 1, -7);
            interpolate(small, y.data(), part.data(), n);
            BOOST_TEST(std::equal(part.begin(), part.end() - 1, out.begin()));
            BOOST_TEST(part.back() == -7);
        }
    }
}

BOOST_AUTO_TEST_CASE(stated_error_is_the_error)
{
    tabulated_receiver::config c;
    c.soft_bits = true;
    for (double noise_var : { 0.3, 0.03 }) {
        c.noise_var = noise_var;
        tabulated_receiver table(gentle(), 1, c);
        const auto f = table.accuracy();
        receiver exact(gentle());
        exact.set_noise_var(noise_var);
        // Fresh observations of the same law.
        std::mt19937 random(77);
        std::normal_distribution<float> noise(0, std::sqrt(float(noise_var) / 2));
        std::vector<cf> y(20000), x(y.size()), approximate(y.size());
        for (auto& v : y)
            v = exact.get_model().constellation()[random() % 16] + cf(noise(random), noise(random));
        exact.denoise(y.data(), x.data(), y.size());
        table.process(y.data(), approximate.data(), nullptr, y.size());
        double power = 0;
        for (size_t i = 0; i < y.size(); i++)
            power += std::norm(x[i] - approximate[i]) / double(y.size());
        BOOST_TEST(std::abs(std::sqrt(power) / f.rms - 1) < 0.2);
        BOOST_TEST(f.rms < c.target_rms);
        BOOST_TEST(f.rms_soft < 10 * c.target_rms);
        BOOST_TEST(f.worst < 0.1);
        BOOST_TEST(table.usable());
    }
}

BOOST_AUTO_TEST_CASE(rebuilds_only_when_the_noise_moves)
{
    tabulated_receiver::config c;
    c.nodes = 32;
    c.max_nodes = 32;
    c.step_db = 0.5;
    tabulated_receiver table(gentle(), 1, c);
    table.set_noise_var(0.105);
    table.wait();
    BOOST_TEST(table.tables_built() == 1u);
    table.set_noise_var(0.2);
    table.wait();
    BOOST_TEST(table.tables_built() == 2u);
    BOOST_TEST(table.accuracy().noise_var == 0.2);
    BOOST_TEST(table.usable() == (table.accuracy().rms <= c.target_rms));
    BOOST_CHECK_THROW(table.set_noise_var(-1), std::invalid_argument);
    // The same for a link given as a law: an ideal one follows the noise, another one is another.
    const auto points = gentle()->constellation();
    auto set = [&](double noise_var, float context, double gain) {
        std::vector<float> c3 = { float(-10 * std::log10(noise_var)), context, 0 };
        std::vector<double> q2(80), q1(16);
        for (size_t i = 0; i < 16; i++) {
            q2[5 * i] = 2 * gain * points[i].real() / noise_var;
            q2[5 * i + 1] = 2 * gain * points[i].imag() / noise_var;
            q2[5 * i + 2] = q2[5 * i + 3] = -1 / noise_var;
            q1[i] = -gain * gain * std::norm(points[i]) / noise_var;
        }
        table.set_link(noise_var, c3.data(), q2.data(), q1.data());
        table.wait();
        return table.tables_built();
    };
    BOOST_TEST(set(0.2, 0, 1) == 3u);
    BOOST_TEST(set(0.21, 0, 1) == 3u);
    BOOST_TEST(set(0.3, 0, 1) == 4u);
    BOOST_TEST(set(0.3, 1, 1) == 5u);
    BOOST_TEST(set(0.3, 1, 0.9) == 6u);
    c.nodes = 3;
    BOOST_CHECK_THROW(tabulated_receiver(gentle(), 1, c), std::invalid_argument);
}

// While the level jumps between two values, every call must see exactly one of the two tables.
BOOST_AUTO_TEST_CASE(no_torn_read_while_tables_change)
{
    tabulated_receiver::config c;
    c.nodes = 64;
    c.max_nodes = 64;
    const auto y = observations(3000);
    std::vector<cf> expected[2] = { std::vector<cf>(y.size()), std::vector<cf>(y.size()) }, x(y.size());
    const double level[2] = { 0.5, 0.01 };
    for (int i = 0; i < 2; i++) {
        c.noise_var = level[i];
        tabulated_receiver(gentle(), 1, c).process(y.data(), expected[i].data(), nullptr, y.size());
    }
    tabulated_receiver table(gentle(), 1, c);
    std::atomic<bool> stop{ false };
    std::thread other([&] {
        for (int i = 0; !stop; i++)
            table.set_noise_var(level[i % 2]);
    });
    size_t seen[2] = {};
    for (int i = 0; i < 1000000 && (seen[0] < 20 || seen[1] < 20 || table.tables_built() < 8); i++) {
        table.process(y.data(), x.data(), nullptr, y.size());
        const int which = x == expected[0] ? 0 : 1;
        BOOST_REQUIRE((x == expected[which]));
        seen[which]++;
    }
    stop = true;
    other.join();
    BOOST_TEST((seen[0] >= 20 && seen[1] >= 20));
    BOOST_TEST(table.tables_built() >= 8u);
}

// All of the above again with each instruction set that this machine has.
BOOST_AUTO_TEST_CASE(every_simd_target)
{
    if (std::getenv("GR_DIFFUSION_SIMD"))
        return;
    const std::string self = boost::unit_test::framework::master_test_suite().argv[0];
    for (const char* target : { "AVX3", "AVX2", "SSE4", "SSSE3", "NEON", "EMU128" })
        BOOST_TEST(std::system(
                       ("GR_DIFFUSION_SIMD=" + std::string(target) + " '" + self + "' >/dev/null").c_str()) ==
                       0,
                   "fails with " << target);
}
