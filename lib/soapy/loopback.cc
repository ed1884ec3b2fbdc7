/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "loopback.h"
#include "settings.h"
#include <SoapySDR/Registry.hpp>
#include <algorithm>
#include <set>

namespace gr::diffusion::soapy {

loopback::loopback(const SoapySDR::Kwargs& args)
{
    const auto given = [&](const char* key, const char* otherwise) {
        const auto found = args.find(key);
        return found == args.end() ? std::string(otherwise) : found->second;
    };
    d_medium = std::make_shared<medium>(given("medium", "default"));
    d_seed = uint64_t(parse_number("seed", given("seed", "0"), 0, 9e15));
    d_tx_chain.reset(d_seed ^ 0x7478);
    d_rx_chain.reset(d_seed ^ 0x7278);
    d_rx_chain.set("order", "rx");
    apply(); // presets are in fractions of the sample rate
    // What finders, frontends and SoapyRemote put beside the settings; its server takes "remote:" off.
    static const std::set<std::string> about = { "driver", "medium",  "seed",      "label",     "serial",
                                                 "type",   "device",  "product",   "available", "prot",
                                                 "format", "scale",   "device_id", "mtu",       "window",
                                                 "ipver",  "timeout", "priority" };
    for (const auto& [key, value] : args)
        if (!about.count(key) && key.rfind("remote", 0) != 0 && key.rfind("soapy", 0) != 0)
            writeSetting(key, value);
}

SoapySDR::Kwargs loopback::getHardwareInfo() const
{
    return { { "transmitters", std::to_string(medium::max_air) },
             { "receivers", std::to_string(medium::max_listeners) },
             { "full_scale",
               "0 dBm at transmit gain 30 dB; 0 dBm at the antenna is the receive gain in dBFS" } };
}

// ---------------------------------------------------------------- streams

std::vector<std::string> loopback::getStreamFormats(int, size_t) const
{
    return { SOAPY_SDR_CF32, SOAPY_SDR_CS16, SOAPY_SDR_CS8, SOAPY_SDR_CU8 };
}

std::string loopback::getNativeStreamFormat(int, size_t, double& full_scale) const
{
    full_scale = 1;
    return SOAPY_SDR_CF32;
}

SoapySDR::Stream* loopback::setupStream(int direction,
                                        const std::string& format,
                                        const std::vector<size_t>& channels,
                                        const SoapySDR::Kwargs&)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (channels.size() > 1 || (channels.size() == 1 && channels[0] != 0))
        throw std::runtime_error("virtual radio: it has channel 0 only; open a second device for another");
    stream& s = direction == SOAPY_SDR_TX ? d_tx_stream : d_rx_stream;
    if (s.open)
        throw std::runtime_error(std::string("virtual radio: the ") +
                                 (direction == SOAPY_SDR_TX ? "TX" : "RX") +
                                 " stream is open already; open a second device for another");
    s.format = parse_format(format);
    s.direction = direction;
    if (direction == SOAPY_SDR_TX) {
        d_tx = std::make_unique<transmitter>(d_medium);
        d_tx->with_impairments([&](dsp::impairments& chain) { chain = d_tx_chain; });
    } else {
        d_rx = std::make_unique<receiver>(d_medium, d_seed);
        d_rx->with_impairments([&](dsp::impairments& chain) { chain = d_rx_chain; });
    }
    apply();
    s.open = true;
    return reinterpret_cast<SoapySDR::Stream*>(&s);
}

void loopback::closeStream(SoapySDR::Stream* handle)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    stream& s = of(handle);
    s.open = false;
    if (s.direction == SOAPY_SDR_TX) {
        if (d_tx) // sensors tell of the last stream still
            d_last_first = d_tx->first(), d_last_next = d_tx->next();
        d_tx.reset();
    } else
        d_rx.reset();
}

int loopback::activateStream(SoapySDR::Stream* handle, int flags, long long time_ns, size_t count)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (of(handle).direction == SOAPY_SDR_TX) {
        if (flags != 0)
            return SOAPY_SDR_NOT_SUPPORTED;
        d_tx->start();
        return 0;
    }
    if ((flags & ~(SOAPY_SDR_HAS_TIME | SOAPY_SDR_END_BURST)) != 0)
        return SOAPY_SDR_NOT_SUPPORTED;
    std::optional<int64_t> time;
    if (flags & SOAPY_SDR_HAS_TIME)
        time = time_ns - d_time_offset;
    d_rx->start(time, count);
    return 0;
}

int loopback::deactivateStream(SoapySDR::Stream* handle, int, long long)
{
    std::lock_guard<std::recursive_mutex> lock(d_mutex);
    if (of(handle).direction == SOAPY_SDR_TX)
        d_tx->stop();
    else
        d_rx->stop();
    return 0;
}

int loopback::readStream(SoapySDR::Stream* handle,
                         void* const* buffers,
                         size_t n,
                         int& flags,
                         long long& time_ns,
                         long timeout_us)
{
    stream& s = of(handle);
    if (s.direction != SOAPY_SDR_RX)
        return SOAPY_SDR_NOT_SUPPORTED;
    flags = 0;
    n = std::min(n, getStreamMTU(handle));
    if (n == 0)
        return 0;
    s.buffer.resize(getStreamMTU(handle));
    const auto chunk = d_rx->read(s.buffer.data(), n, std::max(timeout_us, 0l));
    if (chunk.count > 0)
        to_wire(s.format, s.buffer.data(), buffers[0], size_t(chunk.count));
    if (chunk.count > 0 || chunk.count == SOAPY_SDR_OVERFLOW) {
        flags = SOAPY_SDR_HAS_TIME | (chunk.end ? SOAPY_SDR_END_BURST : 0);
        time_ns = chunk.time_ns + d_time_offset;
    }
    return chunk.count;
}

int loopback::writeStream(SoapySDR::Stream* handle,
                          const void* const* buffers,
                          size_t n,
                          int& flags,
                          long long time_ns,
                          long timeout_us)
{
    stream& s = of(handle);
    if (s.direction != SOAPY_SDR_TX)
        return SOAPY_SDR_NOT_SUPPORTED;
    const size_t m = std::min(n, getStreamMTU(handle));
    s.buffer.resize(getStreamMTU(handle));
    from_wire(s.format, buffers[0], s.buffer.data(), m);
    std::optional<int64_t> time;
    if (flags & SOAPY_SDR_HAS_TIME)
        time = time_ns - d_time_offset;
    const bool end = (flags & SOAPY_SDR_END_BURST) && m == n;
    return d_tx->write(s.buffer.data(), m, end, time, std::max(timeout_us, 0l));
}

int loopback::readStreamStatus(SoapySDR::Stream* handle,
                               size_t& mask,
                               int& flags,
                               long long& time_ns,
                               long timeout_us)
{
    if (of(handle).direction != SOAPY_SDR_TX)
        return SOAPY_SDR_NOT_SUPPORTED; // overflows are readStream's own result
    const auto event = d_tx->wait_event(std::max(timeout_us, 0l));
    if (!event)
        return SOAPY_SDR_TIMEOUT;
    mask = 1;
    flags = event->flags | SOAPY_SDR_HAS_TIME;
    time_ns = event->time_ns + d_time_offset;
    return event->code;
}

// ---------------------------------------------------------------- time

long long loopback::getHardwareTime(const std::string&) const { return d_medium->clock_ns() + d_time_offset; }

void loopback::setHardwareTime(long long time_ns, const std::string&)
{
    d_time_offset = time_ns - d_medium->clock_ns();
}

} // namespace gr::diffusion::soapy

// ---------------------------------------------------------------- registry

namespace {

SoapySDR::KwargsList find(const SoapySDR::Kwargs& args)
{
    gr::diffusion::soapy::medium::clean();
    // SoapySDR shares one device among those that open the same discovered arguments. So all that is given
    // is part of them: other settings, another radio.
    SoapySDR::Kwargs found = args;
    found["driver"] = "loopback";
    found.emplace("medium", "default");
    found["label"] = "Virtual radio on medium " + found["medium"];
    return { found };
}

SoapySDR::Device* make(const SoapySDR::Kwargs& args) { return new gr::diffusion::soapy::loopback(args); }

const SoapySDR::Registry registered("loopback", &find, &make, SOAPY_SDR_ABI_VERSION);

} // namespace
