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
    std::atomic<uint32_t> generation; //!< another with every owner of this ring

    //! Where bursts begin: the last max_marks of `bursts`, burst k at k modulo max_marks. Stored before head.
    static constexpr uint64_t max_marks = 1024;
    std::atomic<uint64_t> bursts;
    std::atomic<int64_t> burst_at[max_marks];

    //! The way from this transmitter, besides what a receiver has for all: changed with version odd.
    std::atomic<uint32_t> way_version; //!< another with every change
    std::atomic<double> path_loss_db, delay_ns, doppler_hz;
    static constexpr uint32_t max_taps = 64;
    std::atomic<uint32_t> tap_count, profile_count; //!< 0: as the receiver has it
    std::atomic<float> taps[2 * max_taps];          //!< real, imaginary
    std::atomic<float> profile[max_taps];           //!< mean powers
};

//! How a medium's time passes.
enum class pacing : uint32_t {
    realtime, //!< by the clock
    fast,     //!< as fast as transmitters and receivers go; by the clock where nobody transmits
    lockstep  //!< likewise, but where nobody transmits it stands still: the same samples every time
};

//! How far a receiver has come, for transmitters that wait for it (not in real time).
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

    pacing pace() const;
    void set_pace(pacing pace);
    //! Not by the clock: transmitters and receivers wait for each other.
    bool fast() const { return pace() != pacing::realtime; }
    bool lockstep() const { return pace() == pacing::lockstep; }
    //! Time of the receiver that has come furthest, 0 if there is none.
    int64_t latest_listener_ns() const;

    /*! Where segments lie: $GR_DIFFUSION_SHM if set, else /dev/shm, or /tmp where that is missing or has less
     * than 16 MiB in all. All programs that are to meet must agree. */
    static std::string folder();

    //! A ring or listener for this process; -1: all are taken. Released by release_* or when the process
    //! ends.
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
