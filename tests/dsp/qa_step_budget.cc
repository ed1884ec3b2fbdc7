/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/step_budget.h"
#include <boost/test/unit_test.hpp>

using gr::diffusion::dsp::step_budget;

namespace {
size_t calls(step_budget& b, int n, double input, double output, size_t wanted, double busy = 0)
{
    size_t steps = 0;
    for (int i = 0; i < n; i++)
        steps = b.allow(input, output, busy, wanted);
    return steps;
}
} // namespace

BOOST_AUTO_TEST_CASE(off_it_changes_nothing)
{
    step_budget b;
    BOOST_TEST(calls(b, 100, 1, 0, 20) == 20u);
    b.count(7);
    BOOST_TEST(b.lowered() == 0u);
    BOOST_TEST(b.reduced() == 0u);
}

BOOST_AUTO_TEST_CASE(behind_it_halves_and_never_goes_below_one)
{
    step_budget b;
    b.set_on(true);
    BOOST_TEST(calls(b, step_budget::patience - 1, 1, 0, 20) == 20u);
    BOOST_TEST(calls(b, 1, 1, 0, 20) == 10u);
    BOOST_TEST(calls(b, step_budget::patience, 1, 0, 20) == 5u);
    b.count(3);
    BOOST_TEST(calls(b, 1000, 1, 0, 20) == 1u);
    b.count(4);
    BOOST_TEST(b.lowered() == 4u); // 10, 5, 2, 1
    BOOST_TEST(b.reduced() == 7u);
}

BOOST_AUTO_TEST_CASE(a_full_output_or_a_moment_is_not_behind)
{
    step_budget b;
    b.set_on(true);
    BOOST_TEST(calls(b, 1000, 1, 1, 8) == 8u); // those after it are the slow ones
    for (int i = 0; i < 100; i++) {
        calls(b, step_budget::patience - 1, 1, 0, 8);
        BOOST_TEST(b.allow(0.6, 0, 0, 8) == 8u);
    }
    BOOST_TEST(b.lowered() == 0u);
}

BOOST_AUTO_TEST_CASE(with_time_it_returns_and_between_it_stays)
{
    step_budget b;
    b.set_on(true);
    calls(b, 1000, 1, 0, 20);
    BOOST_TEST(calls(b, 1000, 0.6, 0.6, 20) == 1u);
    BOOST_TEST(calls(b, step_budget::confidence - 1, 0.1, 0, 20) == 1u);
    BOOST_TEST(calls(b, 1, 0.1, 0, 20) == 2u);
    BOOST_TEST(calls(b, 1000, 0.1, 0, 20) == 20u);
}

BOOST_AUTO_TEST_CASE(another_number_wanted_or_off_starts_anew)
{
    step_budget b;
    b.set_on(true);
    calls(b, 1000, 1, 0, 20);
    BOOST_TEST(b.allow(1, 0, 0, 6) == 6u);
    calls(b, 1000, 1, 0, 6);
    b.set_on(false);
    BOOST_TEST(b.allow(1, 0, 0, 6) == 6u);
}

BOOST_AUTO_TEST_CASE(without_rest_it_is_behind_however_empty_the_input)
{
    step_budget b;
    b.set_on(true);
    BOOST_TEST(calls(b, step_budget::patience, 0.3, 0, 8, 0.95) == 4u);
    BOOST_TEST(calls(b, 1000, 0.3, 0, 8, 0.5) == 4u); // neither behind nor with time to spare
    BOOST_TEST(calls(b, step_budget::confidence, 0.3, 0, 8, 0.4) == 8u);
    BOOST_TEST(calls(b, 1000, 0.3, 0.6, 8, 0.8) == 8u); // its output fills: those after it are slower
    // what the last call wrote is not read yet: still no rest
    BOOST_TEST(calls(b, 1000, 0.3, 0.6, 8, 1) == 1u);
}
