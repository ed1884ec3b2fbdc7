/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "format.h"
#include "medium.h"
#include "receiver.h"
#include "transmitter.h"
#include <SoapySDR/Device.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace gr::diffusion::soapy {

/*! The SoapySDR device "loopback": one transmitter and one receiver on a medium in shared memory.
 *
 * Arguments when it is opened are its settings (see getSettingInfo), and "medium" (name, default
 * "default") and "seed". */
class loopback : public SoapySDR::Device
{
public:
    explicit loopback(const SoapySDR::Kwargs& args);

    // identity and channels
    std::string getDriverKey() const override { return "loopback"; }
    std::string getHardwareKey() const override { return "gr-diffusion virtual radio"; }
    SoapySDR::Kwargs getHardwareInfo() const override;
    size_t getNumChannels(int) const override { return 1; }
    bool getFullDuplex(int, size_t) const override { return true; }

    // streams
    std::vector<std::string> getStreamFormats(int, size_t) const override;
    std::string getNativeStreamFormat(int, size_t, double& full_scale) const override;
    SoapySDR::Stream*
    setupStream(int, const std::string&, const std::vector<size_t>&, const SoapySDR::Kwargs&) override;
    void closeStream(SoapySDR::Stream*) override;
    size_t getStreamMTU(SoapySDR::Stream*) const override { return 8192; }
    int activateStream(SoapySDR::Stream*, int flags, long long time_ns, size_t count) override;
    int deactivateStream(SoapySDR::Stream*, int, long long) override;
    int readStream(SoapySDR::Stream*, void* const* buffers, size_t n, int& flags, long long& time_ns,
                   long timeout_us) override;
    int writeStream(SoapySDR::Stream*,
                    const void* const* buffers,
                    size_t n,
                    int& flags,
                    long long time_ns,
                    long timeout_us) override;
    int readStreamStatus(SoapySDR::Stream*, size_t& mask, int& flags, long long& time_ns,
                         long timeout_us) override;

    // analogue side
    std::vector<std::string> listAntennas(int direction, size_t) const override;
    std::string getAntenna(int direction, size_t) const override;
    void setAntenna(int direction, size_t, const std::string& name) override;
    std::vector<std::string> listGains(int direction, size_t) const override;
    bool hasGainMode(int direction, size_t) const override { return direction == SOAPY_SDR_RX; }
    void setGainMode(int direction, size_t, bool automatic) override;
    bool getGainMode(int direction, size_t) const override;
    bool hasDCOffsetMode(int direction, size_t) const override { return direction == SOAPY_SDR_RX; }
    void setDCOffsetMode(int direction, size_t, bool automatic) override;
    bool getDCOffsetMode(int direction, size_t) const override;
    void setGain(int direction, size_t channel, double value) override;
    void setGain(int direction, size_t, const std::string& name, double value) override;
    double getGain(int direction, size_t) const override;
    double getGain(int direction, size_t, const std::string& name) const override;
    SoapySDR::Range getGainRange(int direction, size_t) const override;
    SoapySDR::Range getGainRange(int direction, size_t, const std::string& name) const override;
    std::vector<std::string> listFrequencies(int, size_t) const override { return { "RF" }; }
    void setFrequency(int direction, size_t channel, double hz, const SoapySDR::Kwargs&) override;
    void setFrequency(int direction, size_t, const std::string& name, double hz,
                      const SoapySDR::Kwargs&) override;
    double getFrequency(int direction, size_t) const override;
    double getFrequency(int direction, size_t, const std::string& name) const override;
    SoapySDR::ArgInfoList getFrequencyArgsInfo(int, size_t) const override;
    SoapySDR::RangeList getFrequencyRange(int, size_t) const override;
    SoapySDR::RangeList getFrequencyRange(int, size_t, const std::string& name) const override;
    bool hasFrequencyCorrection(int, size_t) const override { return true; }
    void setFrequencyCorrection(int direction, size_t, double ppm) override;
    double getFrequencyCorrection(int direction, size_t) const override;
    void setSampleRate(int direction, size_t, double rate) override;
    double getSampleRate(int direction, size_t) const override;
    std::vector<double> listSampleRates(int, size_t) const override;
    SoapySDR::RangeList getSampleRateRange(int, size_t) const override;
    void setBandwidth(int direction, size_t, double hz) override;
    double getBandwidth(int direction, size_t) const override;
    SoapySDR::RangeList getBandwidthRange(int, size_t) const override;

    // time, sensors, settings
    bool hasHardwareTime(const std::string& what) const override { return what.empty(); }
    long long getHardwareTime(const std::string& what) const override;
    void setHardwareTime(long long time_ns, const std::string& what) override;
    std::vector<std::string> listSensors() const override;
    SoapySDR::ArgInfo getSensorInfo(const std::string& key) const override;
    std::string readSensor(const std::string& key) const override;
    std::vector<std::string> listSensors(int, size_t) const override { return listSensors(); }
    SoapySDR::ArgInfo getSensorInfo(int, size_t, const std::string& key) const override
    {
        return getSensorInfo(key);
    }
    std::string readSensor(int, size_t, const std::string& key) const override { return readSensor(key); }
    SoapySDR::ArgInfoList getSettingInfo() const override;
    void writeSetting(const std::string& key, const std::string& value) override;
    std::string readSetting(const std::string& key) const override;

private:
    struct stream {
        int direction;
        sample_format format;
        bool open = false;
        std::vector<std::complex<float>> buffer;
    };
    stream& of(SoapySDR::Stream* handle) const { return *reinterpret_cast<stream*>(handle); }
    void apply();
    bool set_chain(const std::string& key, const std::string& value);

    std::shared_ptr<medium> d_medium;
    uint64_t d_seed = 0;
    mutable std::recursive_mutex d_mutex;
    std::unique_ptr<transmitter> d_tx; //!< made with its stream: a receiver takes no ring
    std::unique_ptr<receiver> d_rx;
    transmitter_settings d_tx_settings;
    receiver_settings d_rx_settings;
    double d_clock_ppm = 0, d_tx_correction = 0, d_rx_correction = 0;
    double d_lna = 20, d_vga = 30, d_tx_bandwidth = 0, d_rx_bandwidth = 0;
    dsp::impairments d_tx_chain, d_rx_chain; //!< as set; streams get copies
    std::string d_taps = "1", d_profile, d_own_taps, d_own_profile; //!< as written
    stream d_tx_stream, d_rx_stream;
    int64_t d_last_first = 0, d_last_next = 0;
    long long d_time_offset = 0;
};

} // namespace gr::diffusion::soapy
