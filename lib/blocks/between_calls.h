/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>

namespace gr::diffusion {

/*! How other threads set and ask a block that hardly ever rests.
 *
 * The thread of a busy block takes its lock again as soon as it has left it, so whoever waits for that lock
 * may wait for seconds. Here nobody waits for it: what others want done goes into a list, and the block does
 * it itself before its next call, for one atomic read a call. Only of a block that rests do they take the
 * lock; so a caller whom the system puts aside does not hold up a stream. */
class DIFFUSION_API between_calls
{
public:
    //! One call of work, in the block's thread, with what others asked for done first. Calls do not nest.
    class DIFFUSION_API call
    {
    public:
        explicit call(between_calls& owner);
        ~call();
        call(const call&) = delete;
        call& operator=(const call&) = delete;

    private:
        between_calls& d_owner;
        std::lock_guard<std::mutex> d_lock;
    };

    between_calls() = default;
    between_calls(const between_calls&) = delete;
    between_calls& operator=(const between_calls&) = delete;

    /*! Runs \p f while the block is in no call, and returns what it returns or throws. From any thread; from
     *  the block's own at once, also within a call. \p f shall be short, and must not ask() from another
     *  thread. */
    template <typename F>
    std::invoke_result_t<F> ask(F&& f)
    {
        if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
            run([&] { f(); });
        } else {
            std::optional<std::decay_t<std::invoke_result_t<F>>> result;
            run([&] { result.emplace(f()); });
            return std::move(*result);
        }
    }

private:
    struct request {
        const std::function<void()>& what;
        request* next = nullptr;
        std::exception_ptr error;
        std::atomic<bool> done{ false }; // the last that is written: the request is gone then
    };

    void run(const std::function<void()>& what);
    void serve();

    std::mutex d_lock;
    std::atomic<request*> d_requests{ nullptr };
    std::atomic<uint64_t> d_calls{ 0 };
    std::atomic<std::thread::id> d_thread{}; // the block's, once it has been called
    bool d_in_call = false;                  // of that thread
};

} // namespace gr::diffusion
