/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "loopback.h"
#include "settings.h"
#include <stdexcept>

namespace gr::diffusion::soapy {

namespace {

struct described {
    const char *key, *name, *text, *unit;
    double low, high;
};

const described numbers[] = {
    { "clock_ppm", "Clock error", "of this radio's clock: its sample rates and carriers", "ppm", -1000,
      1000 },
    { "dac_bits", "DAC bits", "per rail, 0: a perfect one", "bits", 0, 16 },
    { "adc_bits", "ADC bits", "per rail, 0: a perfect one", "bits", 0, 16 },
    { "tx_cfo_hz", "Transmit carrier error", "beyond the clock's", "Hz", -1e6, 1e6 },
    { "rx_cfo_hz", "Receive carrier error", "beyond the clock's", "Hz", -1e6, 1e6 },
    { "tx_buffer_ms", "Transmit buffer", "samples are taken this far ahead of the air", "ms", 1, 10000 },
    { "rx_buffer_ms", "Receive buffer", "a reader that falls further behind loses samples", "ms", 1, 10000 },
    { "path_loss_db", "Path loss", "from every transmitter to this receiver", "dB", -50, 250 },
    { "noise_dbm", "Noise power", "at this receiver's antenna, in the sampling bandwidth", "dBm", -250, 50 },
    { "doppler_hz", "Doppler", "largest Doppler shift of the Rayleigh taps, up to 1% of the rate", "Hz", 0,
      1e6 },
    { "delay_ns", "Delay", "of the path", "ns", 0, 1e7 },
    { "tx_path_loss_db", "Own path loss", "of this transmitter, besides the receivers'", "dB", -50, 250 },
    { "tx_delay_ns", "Own delay", "of this transmitter, besides the receivers'", "ns", 0, 1e7 },
    { "tx_doppler_hz", "Own Doppler", "of tx_profile, up to 1% of the rate", "Hz", 0, 1e6 },
};

constexpr size_t max_own_taps = air::max_taps;

void check_own(const std::string& key, size_t count)
{
    if (count > max_own_taps)
        throw std::runtime_error("virtual radio: " + key + " has " + std::to_string(count) +
                                 " taps, use up to " + std::to_string(max_own_taps));
}

pacing parse_pacing(const std::string& value)
{
    if (value == "realtime") return pacing::realtime;
    if (value == "fast") return pacing::fast;
    if (value == "lockstep") return pacing::lockstep;
    throw std::runtime_error("virtual radio: pacing is '" + value + "', use realtime, fast or lockstep");
}

std::string name_of(pacing p)
{
    return p == pacing::realtime ? "realtime" : p == pacing::fast ? "fast" : "lockstep";
}

} // namespace

void loopback::apply()
{
    d_tx_settings.clock_ppm = d_clock_ppm - d_tx_correction;
    d_rx_settings.clock_ppm = d_clock_ppm - d_rx_correction;
    d_rx_settings.gain_db = d_lna + d_vga;
    d_tx_chain.set("sample_rate", d_tx_settings.rate);
    d_rx_chain.set("sample_rate", d_rx_settings.rate);
    if (d_tx)
        d_tx->set(d_tx_settings);
    if (d_rx)
        d_rx->set(d_rx_settings);
}

//! Settings "tx_..." and "rx_..." of the impairment chains; false if it is none of these.
bool loopback::set_chain(const std::string& key, const std::string& value)
{
    const bool tx = key.rfind("tx_", 0) == 0;
    if (!tx && key.rfind("rx_", 0) != 0)
        return false;
    const std::string name = key.substr(3);
    const auto set = [&](dsp::impairments& chain) {
        if (name == "preset") {
            chain.set_preset(value);
            if (!tx) // presets are transmitters'; a receiver has no amplifier and its own order
                chain.set("order", "rx");
        } else if (name == "pa") {
            chain.set("pa", value);
        } else {
            chain.set(name, parse_number(key, value, -1e12, 1e12));
        }
    };
    set(tx ? d_tx_chain : d_rx_chain); // throws before the streams' copies are touched
    if (tx && d_tx)
        d_tx->with_impairments(set);
    if (!tx && d_rx)
        d_rx->with_impairments(set);
    return true;
}

void loopback::writeSetting(const std::string& key, const std::string& value)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    auto &tx = d_tx_settings;
    auto &rx = d_rx_settings;
    for (const auto& n : numbers) {
        if (key != n.key)
            continue;
        const double v = parse_number(key, value, n.low, n.high);
        if (key == "clock_ppm")
            d_clock_ppm = v;
        else if (key == "dac_bits")
            tx.bits = int(v);
        else if (key == "adc_bits")
            rx.bits = int(v);
        else if (key == "tx_cfo_hz")
            tx.cfo_hz = v;
        else if (key == "rx_cfo_hz")
            rx.cfo_hz = v;
        else if (key == "tx_buffer_ms")
            tx.buffer_ms = v;
        else if (key == "rx_buffer_ms")
            rx.buffer_ms = v;
        else if (key == "path_loss_db")
            rx.path.path_loss_db = v;
        else if (key == "noise_dbm")
            rx.path.noise_dbm = v;
        else if (key == "doppler_hz")
            rx.path.doppler_hz = v;
        else if (key == "delay_ns")
            rx.path.delay_ns = v;
        else if (key == "tx_path_loss_db")
            tx.way.path_loss_db = v;
        else if (key == "tx_delay_ns")
            tx.way.delay_ns = v;
        else
            tx.way.doppler_hz = v;
        return apply();
    }
    if (key == "pacing") {
        d_medium->set_pace(parse_pacing(value));
    } else if (key == "fading") {
        if (value != "continuous" && value != "burst")
            throw std::runtime_error("virtual radio: fading is '" + value + "', use continuous or burst");
        rx.path.burst_fading = value == "burst";
        apply();
    } else if (key == "taps") {
        rx.path.taps = parse_taps(key, value);
        rx.path.profile.clear();
        d_taps = value;
        d_profile.clear();
        apply();
    } else if (key == "profile") {
        rx.path.profile = parse_profile(key, value);
        d_profile = value;
        apply();
    } else if (key == "tx_taps") { // empty: as the receiver has it
        auto taps = value.find_first_not_of(" ;") == std::string::npos ? decltype(tx.way.taps)()
                                                                       : parse_taps(key, value);
        check_own(key, taps.size());
        tx.way.taps = std::move(taps);
        tx.way.profile.clear();
        d_own_taps = value;
        d_own_profile.clear();
        apply();
    } else if (key == "tx_profile") {
        auto profile = parse_profile(key, value);
        check_own(key, profile.size());
        tx.way.profile = std::move(profile);
        d_own_profile = value;
        apply();
    } else {
        try {
            if (set_chain(key, value))
                return;
        } catch (const std::invalid_argument& e) {
            throw std::runtime_error("virtual radio: " + key + ": " + e.what());
        }
        throw std::runtime_error("virtual radio: there is no setting '" + key +
                                 "'; SoapySDRUtil --probe=driver=loopback lists them");
    }
}

std::string loopback::readSetting(const std::string& key) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    const auto &tx = d_tx_settings;
    const auto &rx = d_rx_settings;
    if (key == "clock_ppm") return number_text(d_clock_ppm);
    if (key == "dac_bits") return number_text(tx.bits);
    if (key == "adc_bits") return number_text(rx.bits);
    if (key == "tx_cfo_hz") return number_text(tx.cfo_hz);
    if (key == "rx_cfo_hz") return number_text(rx.cfo_hz);
    if (key == "tx_buffer_ms") return number_text(tx.buffer_ms);
    if (key == "rx_buffer_ms") return number_text(rx.buffer_ms);
    if (key == "path_loss_db") return number_text(rx.path.path_loss_db);
    if (key == "noise_dbm") return number_text(rx.path.noise_dbm);
    if (key == "doppler_hz") return number_text(rx.path.doppler_hz);
    if (key == "delay_ns") return number_text(rx.path.delay_ns);
    if (key == "tx_path_loss_db") return number_text(tx.way.path_loss_db);
    if (key == "tx_delay_ns") return number_text(tx.way.delay_ns);
    if (key == "tx_doppler_hz") return number_text(tx.way.doppler_hz);
    if (key == "tx_taps") return d_own_taps;
    if (key == "tx_profile") return d_own_profile;
    if (key == "fading") return rx.path.burst_fading ? "burst" : "continuous";
    if (key == "pacing") return name_of(d_medium->pace());
    if (key == "taps") return d_taps;
    if (key == "profile") return d_profile;
    if (key.size() > 3 && (key.rfind("tx_", 0) == 0 || key.rfind("rx_", 0) == 0)) {
        const auto& chain = key[0] == 't' ? d_tx_chain : d_rx_chain;
        const std::string name = key.substr(3);
        if (name == "pa") return chain.settings().pa;
        if (name == "preset") return "";
        try {
            return number_text(chain.get(name));
        } catch (const std::invalid_argument&) {
        }
    }
    throw std::runtime_error("virtual radio: there is no setting '" + key + "'");
}

SoapySDR::ArgInfoList loopback::getSettingInfo() const
{
    SoapySDR::ArgInfoList list;
    const auto add = [&](const std::string& key, const std::string& name, const std::string& text,
                         auto type) {
        SoapySDR::ArgInfo info;
        info.key = key;
        info.name = name;
        info.description = text;
        info.type = type;
        info.value = readSetting(key);
        list.push_back(info);
        return &list.back();
    };
    for (const auto& n : numbers) {
        auto* info = add(n.key, n.name, n.text, SoapySDR::ArgInfo::FLOAT);
        info->units = n.unit;
        info->range = SoapySDR::Range(n.low, n.high);
    }
    const auto text = SoapySDR::ArgInfo::STRING;
    add("pacing", "Pacing",
        "of the whole medium: in real time, or as fast as transmitters and receivers go; in "
        "lockstep time stands still where nobody transmits",
        text)
        ->options = { "realtime", "fast", "lockstep" };
    add("taps", "Taps", "static multipath at the receiver's rate, such as 1;0.3+0.2j", text);
    add("profile", "Power-delay profile", "dB, such as 0;-4;-8: Rayleigh taps in place of static ones", text);
    add("fading", "Fading", "of Rayleigh taps: with doppler_hz, or drawn anew where a burst begins", text)
        ->options = { "continuous", "burst" };
    add("tx_taps", "Own taps", "of this transmitter, in place of the receivers' taps", text);
    add("tx_profile", "Own power-delay profile", "of this transmitter, in place of the receivers'", text);
    for (const std::string side : { "tx_", "rx_" }) {
        const std::string of = side == "tx_" ? "transmitter: " : "receiver: ";
        add(side + "preset", "Impairment preset", of + "all of its impairments", SoapySDR::ArgInfo::STRING)
            ->options = dsp::impairments::preset_names();
        for (const auto& name : dsp::impairments::setting_names()) {
            if (name == "order" || name == "sample_rate" || name == "cfo_hz" ||
                (name == "pa" && side == "rx_"))
                continue;
            add(side + name, name, of + "as in impairments_cc, signal power 1 is 0 dBm or 0 dBFS",
                name == "pa" ? SoapySDR::ArgInfo::STRING : SoapySDR::ArgInfo::FLOAT);
        }
    }
    return list;
}

std::vector<std::string> loopback::listSensors() const
{
    return { "lo_locked", "rssi_dbm", "transmitters", "overflows", "underflows", "adc_clipped", "dac_clipped",
             "tx_first", "tx_next" };
}

SoapySDR::ArgInfo loopback::getSensorInfo(const std::string& key) const
{
    SoapySDR::ArgInfo info;
    info.key = info.name = key;
    info.type = key == "lo_locked" ? SoapySDR::ArgInfo::BOOL
                                   : key == "rssi_dbm" ? SoapySDR::ArgInfo::FLOAT : SoapySDR::ArgInfo::INT;
    info.units = key == "rssi_dbm" ? "dBm" : "";
    info.description = key == "transmitters" ? "on the air in this medium"
                       : key == "tx_first"
                           ? "number of the transmit stream's first sample in the medium's time"
                       : key == "tx_next" ? "number of the transmit stream's next sample"
                                          : "";
    info.value = readSensor(key);
    return info;
}

std::string loopback::readSensor(const std::string& key) const
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (key == "lo_locked") return "true";
    if (key == "rssi_dbm") return number_text(d_rx ? d_rx->rssi_dbm() : -200);
    if (key == "overflows") return std::to_string(d_rx ? d_rx->overflows() : 0);
    if (key == "underflows") return std::to_string(d_tx ? d_tx->underflows() : 0);
    if (key == "adc_clipped") return std::to_string(d_rx ? d_rx->clipped() : 0);
    if (key == "dac_clipped") return std::to_string(d_tx ? d_tx->clipped() : 0);
    if (key == "tx_first") return std::to_string(d_tx ? d_tx->first() : d_last_first);
    if (key == "tx_next") return std::to_string(d_tx ? d_tx->next() : d_last_next);
    if (key == "transmitters") {
        int count = 0;
        for (int i = 0; i < medium::max_air; i++)
            count += d_medium->on_air(i).active.load() && d_medium->air_alive(i);
        return std::to_string(count);
    }
    throw std::runtime_error("virtual radio: there is no sensor '" + key + "'");
}

} // namespace gr::diffusion::soapy
