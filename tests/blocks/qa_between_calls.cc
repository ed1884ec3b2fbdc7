/* SPDX-License-Identifier: GPL-3.0-or-later */
// Setting and asking a block whose thread takes its lock again as soon as it has left it.
#include "blocks/between_calls.h"
#include <boost/test/unit_test.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using gr::diffusion::between_calls;

namespace {

//! A block that never rests. `inside` and `calls` are its own: no lock, no atomic.
class busy_block
{
public:
    explicit busy_block(between_calls& between)
        : d_thread([this, &between] {
              while (!d_stop) {
                  const between_calls::call here(between);
                  inside = true;
                  calls++;
                  for (volatile int i = 0; i < 2000; i = i + 1)
                      ;
                  inside = false;
                  d_running = true;
              }
          })
    {
        while (!d_running)
            std::this_thread::yield();
    }
    ~busy_block()
    {
        d_stop = true;
        d_thread.join();
    }
    std::thread::id id() const { return d_thread.get_id(); }
    bool inside = false;
    uint64_t calls = 0;

private:
    std::atomic<bool> d_stop{ false }, d_running{ false };
    std::thread d_thread;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_block_at_rest_is_served_by_the_caller)
{
    between_calls between;
    int value = 1;
    BOOST_TEST(between.ask([&] { return value; }) == 1);
    std::thread::id who;
    between.ask([&] { who = std::this_thread::get_id(); });
    BOOST_TEST((who == std::this_thread::get_id()));
    {
        busy_block block(between);
    }
    between.ask([&] { value = 2; }); // its thread has ended, nobody else would do it
    BOOST_TEST(value == 2);
}

BOOST_AUTO_TEST_CASE(a_busy_block_does_it_itself_between_two_calls)
{
    between_calls between;
    busy_block block(between);
    int by_block = 0;
    bool ever_inside = false;
    for (int i = 0; i < 200; i++) {
        const auto [who, inside] = between.ask(
            [&] { return std::pair(std::this_thread::get_id(), block.inside); });
        by_block += who == block.id();
        ever_inside |= inside;
    }
    BOOST_TEST(!ever_inside);
    // Not all: of a block that the system has put aside for a while the caller may find the lock free.
    BOOST_TEST(by_block > 100);
}

BOOST_AUTO_TEST_CASE(errors_come_back_to_the_caller)
{
    between_calls between;
    auto wrong = [&] { between.ask([]() -> int { throw std::invalid_argument("bits is 99"); }); };
    auto said = [](const std::invalid_argument& e) { return std::string(e.what()) == "bits is 99"; };
    BOOST_CHECK_EXCEPTION(wrong(), std::invalid_argument, said);
    busy_block block(between);
    for (int i = 0; i < 20; i++)
        BOOST_CHECK_EXCEPTION(wrong(), std::invalid_argument, said);
    BOOST_TEST(between.ask([] { return 3; }) == 3); // and the block goes on
}

BOOST_AUTO_TEST_CASE(the_blocks_own_thread_asks_within_a_call_and_outside)
{
    between_calls between;
    int value = 0;
    {
        const between_calls::call here(between);
        between.ask([&] { value = 1; });
        BOOST_TEST(between.ask([&] { return value; }) == 1);
    }
    between.ask([&] { value = 2; }); // a message
    BOOST_TEST(value == 2);
}

BOOST_AUTO_TEST_CASE(many_callers_lose_nothing)
{
    between_calls between;
    busy_block block(between);
    uint64_t sum = 0; // no atomic: the block's lock is what guards it
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; t++)
        callers.emplace_back([&] {
            for (int i = 0; i < 250; i++)
                between.ask([&] { sum++; });
        });
    for (auto& t : callers)
        t.join();
    BOOST_TEST(between.ask([&] { return sum; }) == 1000u);
}
