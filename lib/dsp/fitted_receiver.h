/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "cell_table.h"
#include "noise_law.h"
#include "symbol_law.h"
#include "symbol_prior.h"
#include <gnuradio/diffusion/sampler.h>
#include <gnuradio/diffusion/table.h>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! What turns a fitted law into posteriors: the network on top of it, the law's Gaussians alone, the law
 *  before the converter integrated over its cells (samples that lie in none: the Gaussians), or the law's
 *  centroids in noise of a learned law. */
enum class receiver_path { network, gaussian, cells, noise };

//! "network", "gaussian", "cells". \throws std::invalid_argument
DIFFUSION_API receiver_path receiver_path_of(const std::string& name);

/*! How symbols, or soft bits if asked for, are computed: the exact network, a table of its map (of the noise
 * level in use, or within 0.25 dB of it while the next table is made), or the table where it meets its error
 * target. */
enum class receiver_mode { exact, table, automatic };

//! "exact", "table", "auto". \throws std::invalid_argument
DIFFUSION_API receiver_mode receiver_mode_of(const std::string& name);

/*! A receiver model together with the law of the link it stands on: the one class behind
 * diffusion.Receiver, denoiser_cc and soft_demapper_cf.
 *
 * Belongs to one thread at a time. process() allocates nothing once it has seen a call of that size. */
class DIFFUSION_API fitted_receiver
{
public:
    /*! A model file that holds a fit (description "fit.state") is used with it.
     *  \throws model_error if the model is no receiver, std::invalid_argument */
    explicit fitted_receiver(engine::model::sptr m, size_t steps = 0);

    const engine::model& get_model() const { return d_receiver.get_model(); }
    const symbol_law& law() const { return d_law; }
    receiver_path path() const { return d_path; }
    int bits_per_symbol() const { return d_bits; }
    //! Of the deterministic sampler; 0: the model's default. A table of the old number serves until the new
    //! one is made.
    void set_steps(size_t steps);
    //! Of the exact network alone, for a while: tables stay as they are.
    void limit_steps(size_t steps);
    size_t steps() const { return d_receiver.steps(); }
    /*! \param soft_bits tabulate soft bits instead of symbols
     *  \param wait for the table (tens of milliseconds); else a thread of its own makes it, and the exact
     *         network is used until it is there */
    void set_mode(receiver_mode mode, bool soft_bits = false, bool wait = true);
    receiver_mode mode() const { return d_mode; }
    //! Whether symbols (or soft bits) come from the table now.
    bool uses_table() const;
    //! Symbols so far that the exact network did in mode table or automatic: no table yet, or not a good one.
    uint64_t without_table() const { return d_without_table; }
    //! The engine's own receiver, e.g. for its ancestral mode.
    engine::receiver& sampler() { return d_receiver; }

    /*! The link from now on. \throws std::invalid_argument if its points are not the model's, or for the path
     *  `cells` if it has no converter that can be tabulated */
    void set_law(symbol_law law, receiver_path path = receiver_path::network);
    /*! From now on the noise around the law's centroids is what this law says: path() is noise, and
     * noise_var() its variance. set_noise_var() then scales it. */
    void set_noise_law(noise_law noise);
    const noise_law& noise() const { return d_noise; }
    //! Law, path and noise as numbers, for messages and files; set_state() refuses what is malformed.
    std::vector<double> state() const;
    void set_state(const std::vector<double>& state);

    /*! What is known of the symbols before anything is received, from now on. y, x_hat and the noise variance
     *  are then in the sender's units: points times prior.amplitude; LLRs are posterior, prior included.
     *  \throws std::invalid_argument if it is for another number of points */
    void set_prior(symbol_prior prior);
    const symbol_prior& prior() const { return d_prior; }

    //! E|n|^2 of what follows, > 0. Cheap if it has not changed. \throws std::invalid_argument
    void set_noise_var(double noise_var);
    double noise_var() const { return d_noise_var; }

    //! n observations to symbol estimates (n) and LLRs (n x bits); either may be null; x_hat may be y.
    void process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);

private:
    void apply();
    void run(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);
    void classical(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);
    void gaussian_logits(float re, float im);
    void noise_logits(float re, float im);

    engine::model::sptr d_model;
    engine::receiver d_receiver;
    const size_t d_default_steps;
    std::unique_ptr<engine::tabulated_receiver> d_table;
    receiver_mode d_mode = receiver_mode::exact;
    bool d_soft_table = false;
    uint64_t d_without_table = 0;
    symbol_law d_law;
    symbol_prior d_prior;
    std::vector<std::complex<float>> d_scaled;
    cell_table d_cells;
    receiver_path d_path = receiver_path::network;
    int d_bits = 0;
    double d_noise_var = 0.1;
    noise_law d_noise;
    float d_noise_scale = 1; // law's amplitude over the noise's
    std::vector<std::complex<float>> d_centroid;
    std::vector<double> d_q2, d_q1;
    std::vector<float> d_context, d_p2, d_p1, d_logit; // the quadratic forms in float, scratch
};

} // namespace gr::diffusion::dsp
