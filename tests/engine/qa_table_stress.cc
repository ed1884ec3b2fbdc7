/* SPDX-License-Identifier: GPL-3.0-or-later */
// Tables that are made, replaced and thrown away while samples pass. Built a second time, with the engine,
// under the thread sanitizer (tests/CMakeLists.txt).
#include "receiver_file.h"
#include <gnuradio/diffusion/table.h>
#include <boost/test/unit_test.hpp>
#include <atomic>
#include <chrono>
#include <thread>

using namespace gr::diffusion::engine;
using cf = std::complex<float>;

namespace {

model::sptr gentle() { return model::parse("test", receiver_file(16, true, { 16 }).bytes()); }

tabulated_receiver::config small()
{
    tabulated_receiver::config c;
    c.nodes = c.max_nodes = 32;
    return c;
}

std::vector<cf> observations(size_t n)
{
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 0.8f);
    std::vector<cf> y(n);
    for (auto& v : y)
        v = { normal(random), normal(random) };
    return y;
}

} // namespace

BOOST_AUTO_TEST_CASE(deferred_table_is_made_beside_the_caller)
{
    auto c = small();
    c.deferred = true;
    tabulated_receiver table(gentle(), 1, c);
    const auto y = observations(100);
    std::vector<cf> x(y.size(), cf(-7)), expected(y.size());
    BOOST_TEST(!table.available());
    BOOST_TEST(!table.usable());
    BOOST_TEST(!table.process(y.data(), x.data(), nullptr, y.size()));
    BOOST_TEST((x[0] == cf(-7)));
    BOOST_TEST(table.tables_built() == 0u);
    table.set_noise_var(c.noise_var); // even the level of the configuration is a request
    table.wait();
    BOOST_TEST(table.available());
    BOOST_TEST(table.process(y.data(), x.data(), nullptr, y.size()));
    BOOST_TEST(table.tables_built() == 1u);
    c.deferred = false;
    BOOST_TEST(tabulated_receiver(gentle(), 1, c).process(y.data(), expected.data(), nullptr, y.size()));
    BOOST_TEST((x == expected));
}

// The samples' thread against setters and readers of every kind. A call sees one table, whole.
BOOST_AUTO_TEST_CASE(everything_at_once)
{
    auto c = small();
    c.deferred = true;
    const double level[3] = { 0.5, 0.05, 0.01 };
    const auto y = observations(500);
    std::vector<std::vector<cf>> expected;
    for (size_t steps : { 1, 2 })
        for (double noise_var : level) {
            auto fixed = small();
            fixed.noise_var = noise_var;
            expected.emplace_back(y.size());
            tabulated_receiver(gentle(), steps, fixed)
                .process(y.data(), expected.back().data(), nullptr, y.size());
        }
    tabulated_receiver table(gentle(), 1, c);
    // before the threads: set_steps() first would ask for the configuration's level
    table.set_noise_var(level[0]);
    std::atomic<bool> stop{ false };
    std::thread noise([&] {
        for (int i = 0; !stop; i++) {
            table.set_noise_var(level[i % 3]);
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    });
    std::thread steps([&] {
        for (int i = 0; !stop; i++) {
            table.set_steps(1 + size_t(i % 2));
            std::this_thread::sleep_for(std::chrono::microseconds(700));
        }
    });
    std::atomic<uint64_t> asked{ 0 };
    std::thread reader([&] {
        while (!stop) {
            asked += table.usable() + table.accuracy().probes + table.tables_built() + table.bad_samples();
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    });
    std::vector<cf> x(y.size());
    size_t processed = 0, torn = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (table.tables_built() < 5 && std::chrono::steady_clock::now() < deadline) {
        if (!table.process(y.data(), x.data(), nullptr, y.size()))
            continue;
        processed++;
        torn += std::find(expected.begin(), expected.end(), x) == expected.end();
    }
    stop = true;
    noise.join();
    steps.join();
    reader.join();
    BOOST_TEST(table.tables_built() >= 5u);
    BOOST_TEST(processed > 0u);
    BOOST_TEST(torn == 0u);
    BOOST_TEST(asked > 0u);
}

// A table that is being made is given up with its object, not waited for: it would take minutes.
BOOST_AUTO_TEST_CASE(thrown_away_while_being_made)
{
    auto c = small();
    c.nodes = c.max_nodes = 1024;
    c.deferred = true;
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; i++) {
        tabulated_receiver table(gentle(), 1000, c);
        table.set_noise_var(0.02);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    BOOST_TEST((std::chrono::steady_clock::now() - begun < std::chrono::seconds(30)));
}
