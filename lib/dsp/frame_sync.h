/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ofdm_geometry.h"
#include <cstdint>
#include <memory>

namespace gr::diffusion::dsp {

//! A frame that was found. SNR and noise variance are per time sample, in the full sampling bandwidth.
struct DIFFUSION_API sync_frame {
    uint64_t offset = 0;    //!< first sample of the preamble (of its cyclic prefix), counted from the start
    double cfo = 0;         //!< carrier frequency offset in subcarrier spacings
    double snr_db = 0;      //!< preamble power / noise variance (payload symbols may be stronger)
    double noise_var = 0;   //!< E|n|^2 of a sample
    double power = 0;       //!< preamble power without the noise
    double metric = 0;      //!< detection statistic over its threshold; > 1 for every frame reported
};

struct DIFFUSION_API sync_settings {
    double max_cfo = 2.0;               //!< largest offset searched, in subcarrier spacings
    double false_alarm_rate = 1e-12;    //!< bound on false frames per sample of white noise
    double coarse_pass = 0.1;           //!< share of noise samples that pass the first stage (CPU only)
};

/*! Finds preambles in a stream: two known OFDM symbols, the first with (anti)symmetric halves.
 *
 * Stage 1, at every sample: the correlation of Schmidl and Cox (IEEE Trans. Commun. 45(12), 1997) over
 * the half symbol and the cyclic prefix, at a threshold so low that it costs time, not frames. Its
 * phase gives the CFO modulo two subcarriers.
 * Stage 2, around its local maxima: matched filters c1, c2 for the two known symbols on a grid of CFO
 * hypotheses g (1/8 subcarrier, all of +-max_cfo) and delays t. With e1, e2 the energies of the symbols,
 *   A(t, g) = (|c1|^2 / e1 + |c2|^2 / e2) / sum |y|^2                           one path
 *   B(t, g) = sum over cp_len delays of the same / (lambda sum |y|^2)           multipath
 * A frame is reported where A or B passes its threshold. No phase relation is assumed between the two
 * symbols in the test, so it does not depend on the first stage's CFO being exact.
 *
 * False alarms. For white circular Gaussian noise of any variance A is the share of energy in a
 * 2-dimensional subspace of N = preamble_len samples, so A ~ Beta(2, N - 2); B is at most the share in a
 * subspace of 2 cp_len of N + cp_len - 1 samples (lambda is the largest eigenvalue of the Gram matrix of
 * the shifted symbols), so B <= Beta(2 cp_len, N - cp_len - 1). The thresholds put half of
 * false_alarm_rate on each, divided by the number of CFO hypotheses: by the union bound the expected
 * number of false frames in n samples is at most n * false_alarm_rate, whatever stage 1 lets through.
 *
 * Results do not depend on how the stream is cut. NaN and infinite samples count as zero.
 */
class DIFFUSION_API frame_sync
{
public:
    //! \throws std::invalid_argument for settings out of range
    explicit frame_sync(const ofdm_geometry& geometry, const sync_settings& settings = {});
    ~frame_sync();

    //! Takes n samples; appends frames to \p frames in order of offset, once they are certain.
    void process(const std::complex<float>* in, size_t n, std::vector<sync_frame>& frames);
    //! End of the stream: reports what the last samples hold (the stream goes on with zeros).
    void flush(std::vector<sync_frame>& frames);
    //! Forgets everything; the next sample has number \p first.
    void reset(uint64_t first = 0);

    //! Samples before this number are decided: no frame with a smaller offset will be reported.
    uint64_t decided() const;
    //! Largest number of samples between a frame's offset and its report.
    size_t latency() const;

    const ofdm_geometry& geometry() const;
    const sync_settings& settings() const;
    double threshold_one_path() const;
    double threshold_multipath() const;
    double threshold_coarse() const;
    size_t hypotheses() const; //!< CFO values in the grid
    uint64_t candidates() const; //!< places that stage 2 has examined since the start

    uint64_t bad_samples() const; //!< NaN, infinite or absurdly large, since the start

    /*! The statistics of stage 2 for tests and plots: A(t) and B(t) for t = 0 .. n - window(), at the
     *  grid point nearest to \p cfo. */
    void statistics(const std::complex<float>* in, size_t n, double cfo,
                    std::vector<double>& one_path, std::vector<double>& multipath) const;
    size_t window() const; //!< samples that one value of B looks at

private:
    class impl;
    std::unique_ptr<impl> d_impl;
};

} // namespace gr::diffusion::dsp
