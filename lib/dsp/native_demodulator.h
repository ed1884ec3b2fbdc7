/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "channel_stage.h"
#include "channel_tracker.h"
#include "demapper_stage.h"
#include "frame_sync.h"
#include "native_format.h"
#include <memory>
#include <string>

namespace gr::diffusion::dsp {

//! All a receiver can say about one frame.
struct DIFFUSION_API native_frame {
    sync_frame sync;
    bool header_ok = false;
    bool payload_ok = false;        //!< the CRC-32 fits
    native_header header;
    std::vector<uint8_t> payload;   //!< decoded bytes, right or wrong
    double cfo = 0;                 //!< subcarriers: the synchroniser's, corrected by the pilots
    double noise_var = 0;           //!< E|n|^2 on a carrier beside unit-power data times the channel
    double snr_db = 0;              //!< mean |H|^2 / noise_var
    double evm_db = 0;              //!< sum |y - H x|^2 / sum |H x|^2, dB (see decided)
    bool decided = true;            //!< x in evm_db are decisions; false: known, as the CRC fits
    double phase_walk = 0;          //!< variance of the common phase's random walk, rad^2 a symbol
    std::vector<std::complex<float>> channel; //!< fft_len values, DC in the middle
    std::vector<float> channel_error;         //!< the estimator's own error variance
    std::vector<std::complex<float>> symbols; //!< equalised payload symbols, E|x|^2 = 1
    std::vector<float> symbol_noise;          //!< noise variance of each
    std::vector<float> llr;                   //!< payload bits as sent, positive for 1
    int corrected = 0; //!< 1: what a fit knows of the radios was undone; -1: the guard refused
    double doppler = 0;                       //!< subcarriers, as estimated; 0: the channel stood still
    //! If it did not: of every symbol, preamble first, symbols x fft_len; with the phases, behind the
    //! synchroniser's CFO.
    std::vector<std::complex<float>> channels;
    int rounds = 0;                           //!< data-aided rounds that were needed
    bool guarded = false;                     //!< the demapper's guard fell back to the classical one
    std::string note;                         //!< what a stage had to say, such as a missing model
};

/*! One native frame: samples and synchronisation in, bytes and every stage's output out.
 *
 * 1. DFTs a quarter of the prefix early, CFO removed. 2. Channel from the preamble. 3. Common phase of the
 * header symbols from their pilots, header decoded. 4. Phase of all symbols; the header, now known, and the
 * scattered pilots of the whole frame join the preamble in a second channel estimate. 5. Noise variance
 * from what the known symbols leave over. 6. Equaliser, demapper, decoder. Where the known symbols say that
 * the channel moves, a Wiener filter over delay and time takes the place of one estimate (channel_tracker).
 * Data-aided rounds, only for frames whose CRC fails: what the decoder now believes of each symbol is
 * another pilot, weighted by its variance; channel, phases, demapper and decoder once more. */
class DIFFUSION_API native_demodulator
{
public:
    explicit native_demodulator(const native_settings& settings = {});
    ~native_demodulator();

    const native_format& format() const { return d_format; }

    void set_estimator(std::shared_ptr<channel_stage> stage);
    channel_stage& estimator() { return *d_estimator; }
    void set_demapper(std::shared_ptr<demapper_stage> stage);
    //! The demapper's guard, this one's and later ones'.
    void set_guard(bool on);
    //! \param rounds 0 to 3 \throws std::invalid_argument
    void set_data_aided_rounds(int rounds);
    int data_aided_rounds() const { return d_rounds; }
    //! Whether channels that move within a frame are followed.
    void set_time_tracking(bool on) { d_tracking = on; }
    bool time_tracking() const { return d_tracking; }
    //! Of the demapper's model; null without.
    const waveform_correction* correction() const { return d_correction.get(); }

    //! Preamble and header of the frame that starts at y[0]. \p y: format().front_len() samples.
    native_frame front(const std::complex<float>* y, const sync_frame& sync);
    //! The rest, after front() of the same frame gave header_ok. \p y: format().frame_len(header) samples.
    void payload(const std::complex<float>* y, native_frame& frame);

private:
    struct work;

    void transform(const std::complex<float>* y, const native_header& header, size_t first, size_t count,
                   double cfo);
    void estimate_channel(const native_frame& frame, size_t symbols, bool final);
    void track_phase(const native_frame& frame, size_t symbols);
    void measure_noise(native_frame& frame, size_t symbols);
    void equalise(const native_frame& frame, size_t first, size_t count, std::vector<std::complex<float>>& x,
                  std::vector<float>& noise_var) const;
    void demap(native_frame& frame);
    void decode(native_frame& frame, std::vector<float>* posterior);
    void believe(const native_frame& frame, const std::vector<float>& posterior);
    void refine(native_frame& frame, size_t symbols, bool motion);
    void moving_header(native_frame& frame);
    bool track_channel(native_frame& frame, size_t symbols);
    double late_residual(size_t symbols) const;
    double drift(size_t symbols) const;
    //! Doppler shift and ramp of all paths together, in subcarriers.
    struct motion {
        double doppler = 0, ramp = 0, likelihood = 0;
    };
    bool track(const std::vector<double>& profile, const motion& m, size_t symbols);
    void observe(size_t symbols, double noise_var);
    std::vector<double> delays(size_t symbols);
    motion likely_motion(const std::vector<double>& profile);
    double rarity(size_t shift) const;
    void remember(double doppler);
    void evaluate(native_frame& frame) const;
    void distort(const std::complex<float>* grid, std::complex<float>* added);
    void undo_distortion(native_frame& frame, size_t first, size_t count);

    native_format d_format;
    std::shared_ptr<channel_stage> d_estimator;
    std::shared_ptr<demapper_stage> d_demapper;
    std::shared_ptr<const waveform_correction> d_correction;
    int d_distrust = 0; // of the correction: frames in which it did harm, less those in which it helped
    unsigned d_frames = 0;
    bool d_guard = true, d_tracking = true;
    int d_rounds = 0;
    channel_tracker d_tracker;
    std::vector<double> d_seen;    // how often each Doppler shift, lately; empty: no frame has moved yet
    size_t d_shift = 3;            // number of the latest frame's Doppler shift
    motion d_motion;               // of the frame at hand
    std::vector<double> d_profile; // of the link's delays, learned from the frames; empty: none yet
    std::unique_ptr<work> d_work;
};

} // namespace gr::diffusion::dsp
