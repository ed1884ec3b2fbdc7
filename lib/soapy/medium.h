/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <atomic>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::soapy {

/*! What one transmitter has put on the air: a ring of samples at its antenna (|x|^2 = 1 is 0 dBm).
 *
 * Sample k is on the air at k / rate seconds of the medium's time and lies at k modulo the ring's size.
 * Valid are first <= k < head and the last ring_size of these; elsewhere the transmitter is silent. One
 * process writes, any number read, nobody locks: head is stored after the samples. */
struct air {
    std::atomic<uint32_t> version;  //!< odd while rate, frequency and first are being changed
    std::atomic<uint32_t> active;   //!< the stream is on
    std::atomic<uint32_t> between;  //!< between bursts: nothing is due
    std::atomic<double> rate;       //!< samples/s by the medium's clock (the radio's clock error included)
    std::atomic<double> frequency;  //!< Hz, likewise
    std::atomic<int64_t> first, head;
};

//! How far a receiver has come, for transmitters that wait for it (pacing "fast").
struct listener {
    std::atomic<uint32_t> active;
    std::atomic<int64_t> time_ns;
};

/*! Shared memory through which the samples of all virtual radios of one user and one name cross.
 *
 * Who is alive is known by file locks, which the kernel drops however a process ends: byte 0 is held
 * (shared) by every user of the segment, one further byte (exclusive) by each owner of a ring or a
 * listener. The last user removes the segment; one that was left by killed processes is removed or
 * started anew by whoever looks next. */
class medium
{
public:
    static constexpr size_t ring_size = size_t(1) << 20;
    static constexpr int max_air = 8, max_listeners = 16;

    //! Opens or makes the segment. \throws std::runtime_error saying what is wrong
    explicit medium(const std::string& name);
    ~medium();
    medium(const medium&) = delete;
    medium& operator=(const medium&) = delete;

    //! Removes segments that killed processes left.
    static void clean();

    //! Nanoseconds since the medium was made.
    int64_t clock_ns() const;

    bool fast() const;
    void set_fast(bool fast);

    //! A ring or listener for this process; -1: all are taken. Released by release_* or when the process ends.
    int claim_air();
    void release_air(int index);
    int claim_listener();
    void release_listener(int index);
    //! Whether a living process owns it. A system call: not for every sample.
    bool air_alive(int index) const;
    bool listener_alive(int index) const;

    air& on_air(int index) const;
    listener& listening(int index) const;
    std::complex<float>* ring(int index) const;

private:
    struct header;
    bool lock(short type, off_t byte, bool wait) const;
    bool held(off_t byte) const;

    std::string d_path;
    int d_file = -1;
    header* d_header = nullptr;
    size_t d_size = 0;
    std::vector<bool> d_my_air, d_my_listeners;
};

} // namespace gr::diffusion::soapy
