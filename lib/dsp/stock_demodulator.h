/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "channel_stage.h"
#include "demapper_stage.h"
#include "frame_sync.h"
#include "stock_format.h"

namespace gr::diffusion::dsp {

//! All the receiver can say about one stock packet. Carriers are in units of the sync word's |X| = 1.
struct DIFFUSION_API stock_frame {
    sync_frame sync;
    bool header_ok = false;
    bool payload_ok = false;        //!< the CRC-32 fits
    stock_header header;
    int bits_per_symbol = 0;        //!< of the payload
    std::vector<uint8_t> payload;   //!< bytes; without the CRC-32 when it fits
    int passes = 0;                 //!< decision-directed passes that were needed
    double cfo = 0;                 //!< subcarriers, the synchroniser's corrected by the phase track
    double noise_var = 0;           //!< E|n|^2 on a carrier
    double snr_db = 0;              //!< mean |H X|^2 of the payload / noise_var
    std::vector<std::complex<float>> channel; //!< fft_len values, DC in the middle
    std::vector<float> channel_error;         //!< the estimator's own error variance
    std::vector<std::complex<float>> symbols; //!< equalised payload symbols, E|x|^2 = 1
    std::vector<float> symbol_noise;          //!< noise variance of each
    std::vector<float> llr;                   //!< payload bits as sent, positive for 1
};

/*! Demodulates one packet of digital.ofdm_tx from its samples and its synchronisation.
 *
 * 1. DFTs a quarter of the prefix early, CFO removed; channel from both sync words.
 * 2. Header: phase from its pilots and its 16 known bits, soft decisions, the CRC-8 used to correct.
 * 3. Payload: phase of every symbol (Kalman smoother over pilots and the header, now known), channel
 *    again from all that is known, decisions. If the CRC does not fit: soft decisions E[x | y] join the
 *    pilots in phase and channel estimates, weighted by their uncertainty (expectation maximisation),
 *    and the payload is decided again; up to max_passes times.
 * The estimator and the demapper are exchangeable stages.
 */
class DIFFUSION_API stock_demodulator
{
public:
    explicit stock_demodulator(const stock_settings& settings = {});
    ~stock_demodulator();

    const stock_format& format() const { return d_format; }
    const ofdm_geometry& geometry() const { return d_format.geometry(); }

    void set_estimator(std::shared_ptr<channel_stage> stage) { d_estimator = std::move(stage); }
    channel_stage& estimator() { return *d_estimator; }
    void set_demapper(std::shared_ptr<demapper_stage> stage) { d_demapper = std::move(stage); }
    void set_max_passes(int passes) { d_max_passes = passes; }

    size_t front_len() const { return stock_format::front_symbols * size_t(geometry().symbol_len()); }
    //! Samples of the whole packet, if its payload has this many bits per symbol.
    size_t frame_len(const stock_header& header, int bits_per_symbol) const;

    //! Preamble and header of the packet that starts at y[0]; \p y: front_len() samples.
    stock_frame front(const std::complex<float>* y, const sync_frame& sync);
    /*! The first payload symbol says how many bits a symbol carries (its likelihood under either).
     *  \p y: one symbol more than front_len() */
    int guess_bits(const std::complex<float>* y, const stock_frame& frame);
    //! The rest, after front() of the same packet gave header_ok; \p y: frame_len() samples.
    void payload(const std::complex<float>* y, stock_frame& frame, int bits_per_symbol);

private:
    struct work;

    void transform(const std::complex<float>* y, size_t first, size_t count, double cfo);
    void set_known(size_t symbol, const std::vector<uint8_t>& bits, int bits_per_symbol, float amplitude);
    void estimate_channel(size_t symbols, bool final, bool again = false);
    void track_phase(size_t symbols);
    void equalise(size_t first, size_t count, float amplitude, std::vector<std::complex<float>>& x,
                  std::vector<float>& noise_var) const;
    void decide(stock_frame& frame, size_t count);
    void feed_back(const std::vector<float>& llr, const stock_frame& frame, size_t count);
    void measure_noise(size_t symbols);
    void report(stock_frame& frame) const;

    stock_format d_format;
    std::vector<int> d_active;
    std::shared_ptr<channel_stage> d_estimator;
    std::shared_ptr<demapper_stage> d_demapper;
    int d_max_passes = 3;
    std::unique_ptr<work> d_work;
};

} // namespace gr::diffusion::dsp
