/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/sampler.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace gr::diffusion::engine {

/*! A receiver's map from the plane to symbols and soft bits, tabulated on a square grid and interpolated
 * bilinearly. For a memoryless model at a fixed noise level the whole deterministic chain, however deep,
 * is such a map, so it costs the same whatever the network.
 *
 * A new noise level or link is tabulated by a thread of this object while process() goes on with the old
 * table, and is taken over at the start of a process() call by exchanging one pointer: no stall, no lock,
 * no allocation, no torn read. Setters never wait for that thread either. The destructor does not wait for a
 * table that is being made. Noise levels within step_db of the table's change nothing, and tables follow each
 * other by 50 ms at least.
 *
 * How far it is off is measured for every table, see accuracy(). It depends on how hard the map's decisions
 * are: usable() says whether the target is met, and a block in mode "auto" uses the exact network where it
 * is not. One thread may call process() while others call the setters. */
class DIFFUSION_API tabulated_receiver
{
public:
    struct config {
        size_t nodes = 256;        //!< of the grid in each direction, 16 to 1024; doubled where needed...
        size_t max_nodes = 512;    //!< ...up to this
        double step_db = 0.25;     //!< noise levels closer than this share a table
        double target_rms = 1e-3;  //!< accuracy sought: RMS error, symbols have unit power
        bool symbols = true, soft_bits = false; //!< what is tabulated
        double noise_var = 0.1;    //!< of the first table, made by the constructor...
        bool deferred = false;     //!< ...or by the object's thread once a setter has said for what link
    };

    struct accuracy_figures {
        double rms = 0;      //!< of the symbols (unit power), over observations y = x + n at the noise level
        double worst = 0;    //!< largest error met there and anywhere on the grid
        double rms_soft = 0; //!< of tanh(LLR / 2), the soft bits' expectation, over the same observations
        size_t probes = 0;   //!< observations that were compared with the exact network
        size_t nodes = 0;    //!< of the grid in each direction
        double extent = 0;   //!< the grid reaches from -extent to extent; beyond it the edge counts
        double noise_var = 0;
    };

    //! \throws model_error, std::invalid_argument as receiver does
    tabulated_receiver(model::sptr m, size_t steps, const config& c);
    ~tabulated_receiver();

    //! As in receiver; they return at once, the table follows.
    void set_noise_var(double noise_var);
    void set_link(double noise_var, const float* context, const double* q2, const double* q1);
    void set_steps(size_t steps);
    //! Until the last setter's table is in place or ready to be. For tests and offline use.
    void wait();

    /*! \param y n observations
     *  \param x_hat n symbols or null \param llr n x bits values or null: only what the config names
     *  \returns false if there is no table yet (see config::deferred): nothing is written then */
    bool process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);
    //! Whether process() would find a table; for the thread that calls it.
    bool available() const;

    //! Of the table in use.
    accuracy_figures accuracy() const;
    //! Whether the table that the next process() uses meets the target and is that of the last setter.
    bool usable() const;
    uint64_t tables_built() const;
    //! Samples so far that were NaN or infinite, or beyond 1e4 in a rail.
    uint64_t bad_samples() const;

private:
    struct impl;
    std::unique_ptr<impl> d;
};

} // namespace gr::diffusion::engine
