/* SPDX-License-Identifier: GPL-3.0-or-later */
// The virtual radio's analogue side: antennas, gains, frequencies, rates, filters.
#include "loopback.h"
#include "settings.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::soapy {

namespace {

constexpr double lowest_rate = 1e3, highest_rate = 61.44e6;
constexpr double lowest_frequency = 1e6, highest_frequency = 6e9;

double within(const std::string& what, double value, double low, double high)
{
    if (!(value >= low && value <= high))
        throw std::runtime_error("virtual radio: " + what + " is " + number_text(value) + ", use " +
                                 number_text(low) + " to " + number_text(high));
    return value;
}

} // namespace

std::vector<std::string> loopback::listAntennas(int direction, size_t) const
{
    return { direction == SOAPY_SDR_TX ? "TX" : "RX" };
}

std::string loopback::getAntenna(int direction, size_t) const
{
    return direction == SOAPY_SDR_TX ? "TX" : "RX";
}

void loopback::setAntenna(int direction, size_t, const std::string& name)
{
    if (!name.empty() && name != getAntenna(direction, 0))
        throw std::runtime_error("virtual radio: antenna is '" + name + "', use " + getAntenna(direction, 0));
}

std::vector<std::string> loopback::listGains(int direction, size_t) const
{
    if (direction == SOAPY_SDR_TX)
        return { "PAD" };
    return { "LNA", "VGA" };
}

void loopback::setGainMode(int direction, size_t, bool automatic)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (direction == SOAPY_SDR_RX)
        d_rx_settings.agc = automatic;
    apply();
}

bool loopback::getGainMode(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return direction == SOAPY_SDR_RX && d_rx_settings.agc;
}

void loopback::setDCOffsetMode(int direction, size_t, bool automatic)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (direction == SOAPY_SDR_RX)
        d_rx_settings.remove_dc = automatic;
    apply();
}

bool loopback::getDCOffsetMode(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return direction == SOAPY_SDR_RX && d_rx_settings.remove_dc;
}

void loopback::setGain(int direction, size_t channel, double value)
{
    const auto range = getGainRange(direction, channel);
    value = std::isnan(value) ? range.minimum() : std::clamp(value, range.minimum(), range.maximum());
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (direction == SOAPY_SDR_TX) {
        d_tx_settings.gain_db = value;
    } else { // the first stage first
        d_lna = std::min(30.0, std::floor(value / 10) * 10);
        d_vga = value - d_lna;
    }
    apply();
}

void loopback::setGain(int direction, size_t, const std::string& name, double value)
{
    const auto range = getGainRange(direction, 0, name);
    value = std::isnan(value) ? range.minimum() : std::clamp(value, range.minimum(), range.maximum());
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (name == "PAD")
        d_tx_settings.gain_db = value;
    else
        (name == "LNA" ? d_lna : d_vga) = value;
    apply();
}

double loopback::getGain(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (direction == SOAPY_SDR_TX)
        return d_tx_settings.gain_db;
    return d_rx_settings.agc && d_rx ? d_rx->agc_gain_db() : d_lna + d_vga;
}

double loopback::getGain(int direction, size_t, const std::string& name) const
{
    getGainRange(direction, 0, name);
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return name == "PAD" ? d_tx_settings.gain_db : name == "LNA" ? d_lna : d_vga;
}

SoapySDR::Range loopback::getGainRange(int direction, size_t) const
{
    return direction == SOAPY_SDR_TX ? SoapySDR::Range(0, 60) : SoapySDR::Range(0, 80);
}

SoapySDR::Range loopback::getGainRange(int direction, size_t, const std::string& name) const
{
    if (direction == SOAPY_SDR_TX && name == "PAD")
        return SoapySDR::Range(0, 60);
    if (direction == SOAPY_SDR_RX && name == "LNA")
        return SoapySDR::Range(0, 30);
    if (direction == SOAPY_SDR_RX && name == "VGA")
        return SoapySDR::Range(0, 50);
    throw std::runtime_error("virtual radio: gain is '" + name +
                             "', use PAD (transmit), LNA or VGA (receive)");
}

void loopback::setFrequency(int direction, size_t channel, double hz, const SoapySDR::Kwargs& args)
{
    setFrequency(direction, channel, "RF", hz, args);
}

void loopback::setFrequency(int direction, size_t, const std::string& name, double hz,
                            const SoapySDR::Kwargs& args)
{
    if (name != "RF")
        throw std::runtime_error("virtual radio: frequency component is '" + name + "', use RF");
    // Programs may ask for an LO tuned aside; this one's leak (tx_dc, rx_dc) stays in the middle all the
    // same.
    if (const auto offset = args.find("OFFSET"); offset != args.end())
        parse_number("OFFSET", offset->second, -highest_rate, highest_rate);
    within("frequency", hz, lowest_frequency, highest_frequency);
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    (direction == SOAPY_SDR_TX ? d_tx_settings.frequency : d_rx_settings.frequency) = hz;
    apply();
}

double loopback::getFrequency(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return direction == SOAPY_SDR_TX ? d_tx_settings.frequency : d_rx_settings.frequency;
}

double loopback::getFrequency(int direction, size_t channel, const std::string&) const
{
    return getFrequency(direction, channel);
}

SoapySDR::RangeList loopback::getFrequencyRange(int, size_t) const
{
    return { SoapySDR::Range(lowest_frequency, highest_frequency) };
}

SoapySDR::RangeList loopback::getFrequencyRange(int direction, size_t channel, const std::string&) const
{
    return getFrequencyRange(direction, channel);
}

SoapySDR::ArgInfoList loopback::getFrequencyArgsInfo(int, size_t) const
{
    SoapySDR::ArgInfo info; // gr-soapy refuses tune arguments that are not listed
    info.key = "OFFSET";
    info.name = "LO offset";
    info.value = "0";
    info.units = "Hz";
    info.description = "taken as other drivers do, without effect here";
    info.type = SoapySDR::ArgInfo::FLOAT;
    info.range = SoapySDR::Range(-highest_rate, highest_rate);
    return { info };
}

void loopback::setFrequencyCorrection(int direction, size_t, double ppm)
{
    within("frequency correction", ppm, -1000, 1000);
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    (direction == SOAPY_SDR_TX ? d_tx_correction : d_rx_correction) = ppm;
    apply();
}

double loopback::getFrequencyCorrection(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return direction == SOAPY_SDR_TX ? d_tx_correction : d_rx_correction;
}

void loopback::setSampleRate(int direction, size_t, double rate)
{
    within("sample rate", rate, lowest_rate, highest_rate);
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    (direction == SOAPY_SDR_TX ? d_tx_settings.rate : d_rx_settings.rate) = rate;
    apply();
}

double loopback::getSampleRate(int direction, size_t) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    return direction == SOAPY_SDR_TX ? d_tx_settings.rate : d_rx_settings.rate;
}

std::vector<double> loopback::listSampleRates(int, size_t) const
{
    return { 250e3, 500e3, 1e6, 2e6, 4e6, 5e6, 8e6, 10e6, 20e6 };
}

SoapySDR::RangeList loopback::getSampleRateRange(int, size_t) const
{
    return { SoapySDR::Range(lowest_rate, highest_rate) };
}

void loopback::setBandwidth(int direction, size_t, double hz)
{
    // Kept for those who ask; the sampling bandwidth is the filter.
    (direction == SOAPY_SDR_TX ? d_tx_bandwidth : d_rx_bandwidth) = hz;
}

double loopback::getBandwidth(int direction, size_t channel) const
{
    const double hz = direction == SOAPY_SDR_TX ? d_tx_bandwidth : d_rx_bandwidth;
    return hz > 0 ? hz : getSampleRate(direction, channel);
}

SoapySDR::RangeList loopback::getBandwidthRange(int, size_t) const
{
    return { SoapySDR::Range(lowest_rate, highest_rate) };
}

} // namespace gr::diffusion::soapy
