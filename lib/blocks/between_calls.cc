/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "between_calls.h"
#include <chrono>

namespace gr::diffusion {

namespace {
constexpr std::chrono::microseconds look_again{ 100 };
}

between_calls::call::call(between_calls& owner) : d_owner(owner), d_lock(owner.d_lock)
{
    owner.d_thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
    owner.d_calls.fetch_add(1, std::memory_order_relaxed);
    owner.d_in_call = true;
    if (owner.d_requests.load(std::memory_order_relaxed))
        owner.serve();
}

between_calls::call::~call() { d_owner.d_in_call = false; }

//! With the lock held.
void between_calls::serve()
{
    request* next = nullptr;
    for (request* r = d_requests.exchange(nullptr, std::memory_order_acquire); r; r = next) {
        next = r->next;
        try {
            r->what();
        } catch (...) {
            r->error = std::current_exception();
        }
        r->done.store(true, std::memory_order_release);
    }
}

void between_calls::run(const std::function<void()>& what)
{
    // The block's own thread: a message, or within a call.
    if (d_thread.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        if (d_in_call)
            return what();
        std::lock_guard<std::mutex> lock(d_lock);
        return what();
    }
    request mine{ what };
    uint64_t calls = d_calls.load(std::memory_order_relaxed);
    bool rests = calls == 0;
    mine.next = d_requests.load(std::memory_order_relaxed);
    while (!d_requests.compare_exchange_weak(mine.next, &mine, std::memory_order_release,
                                             std::memory_order_relaxed))
        ;
    while (!mine.done.load(std::memory_order_acquire)) {
        if (rests && d_lock.try_lock()) {
            std::lock_guard<std::mutex> lock(d_lock, std::adopt_lock);
            serve(); // everybody's, so mine is done then
            continue;
        }
        std::this_thread::sleep_for(look_again);
        const uint64_t now = d_calls.load(std::memory_order_relaxed);
        rests = now == calls;
        calls = now;
    }
    if (mine.error)
        std::rethrow_exception(mine.error);
}

} // namespace gr::diffusion
