/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "safetensors.h"
#include "readable.h"
#include <gnuradio/diffusion/model.h>
#include <nlohmann/json.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

namespace gr::diffusion::engine {

namespace {

using json = nlohmann::json;

constexpr float max_weight = 1e6F;

[[noreturn]] void refuse(const std::string& label, const std::string& why)
{
    throw model_error(label + ": " + why);
}

//! Names in errors are the file's: keep them short and printable.
std::string quoted(const std::string& name)
{
    std::string out = "'";
    for (char c : name.substr(0, 60))
        out += c >= 32 && c < 127 ? c : '?';
    return out + (name.size() > 60 ? "...'" : "'");
}

uint64_t little_endian(const unsigned char* bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

json parse_json(const std::string& label, const char* text, size_t size)
{
    // Depth and repeated keys are checked while parsing: a header of brackets would otherwise cost
    // fifty times its size, and of two entries of one name the last would silently win.
    std::set<std::string> keys;
    auto check = [&](int depth, json::parse_event_t event, json& parsed) {
        if (depth > 8)
            refuse(label, "its header is nested too deeply to be a safetensors header");
        if (event == json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second)
            refuse(label, "its header names " + quoted(parsed.get<std::string>()) + " twice");
        return true;
    };
    try {
        return json::parse(text, text + size, check);
    } catch (const json::exception& e) {
        refuse(label, std::string("its header is no valid JSON (") + readable(e.what()) + ")");
    }
}

uint64_t count(const std::string& label, const json& value, const std::string& what)
{
    if (!value.is_number_unsigned())
        refuse(label, what + " is " + value.dump().substr(0, 40) + ", must be a whole number >= 0");
    return value.get<uint64_t>();
}

} // namespace

std::vector<safetensors::place> safetensors::parse_header(const std::string& label,
                                                          const char* text,
                                                          size_t size,
                                                          uint64_t data_size)
{
    const json header = parse_json(label, text, size);
    if (!header.is_object())
        refuse(label, "its header is no JSON object");
    std::vector<place> places;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            if (!entry.is_object())
                refuse(label, "__metadata__ is no JSON object");
            for (const auto& [key, value] : entry.items()) {
                if (!value.is_string())
                    refuse(label, "metadata " + quoted(key) + " is no string");
                d_metadata[key] = value.get<std::string>();
            }
            continue;
        }
        const std::string what = "tensor " + quoted(name);
        if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
            !entry.contains("data_offsets"))
            refuse(label, what + " lacks dtype, shape or data_offsets");
        if (entry["dtype"] != "F32")
            refuse(label,
                   what + " has dtype " + entry["dtype"].dump().substr(0, 20) + ", only F32 is supported");
        const json& shape = entry["shape"];
        const json& offsets = entry["data_offsets"];
        if (!shape.is_array() || shape.size() > max_dims)
            refuse(label, what + " has no shape of at most " + std::to_string(max_dims) + " sizes");
        if (!offsets.is_array() || offsets.size() != 2)
            refuse(label, what + " has no pair of data_offsets");
        place p{ name, count(label, offsets[0], what + ": offset"),
                 count(label, offsets[1], what + ": offset") };
        if (p.begin > p.end || p.end > data_size)
            refuse(label,
                   what + " spans bytes " + std::to_string(p.begin) + " to " + std::to_string(p.end) +
                       " of the " + std::to_string(data_size) + " that the file holds; it may be cut short");
        tensor t;
        uint64_t elements = 1;
        for (const json& dimension : shape) {
            const uint64_t d = count(label, dimension, what + ": size");
            // d <= data_size keeps the product below 2^60, so it cannot wrap.
            if (d > data_size || (elements *= d) > data_size)
                refuse(label, what + " has a size of " + std::to_string(d) + ", more than the file holds");
            t.shape.push_back(d);
        }
        if (elements * sizeof(float) != p.end - p.begin)
            refuse(label,
                   what + " has " + std::to_string(p.end - p.begin) + " bytes, its shape needs " +
                       std::to_string(elements * sizeof(float)));
        d_parameters += elements;
        d_tensors.emplace(name, std::move(t));
        places.push_back(std::move(p));
    }
    std::sort(places.begin(), places.end(), [](const place& a, const place& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    uint64_t at = 0;
    for (const place& p : places) {
        if (p.begin != at)
            refuse(label,
                   "tensor " + quoted(p.name) + (p.begin < at ? " overlaps" : " leaves a gap after") +
                       " the tensor before it");
        at = p.end;
    }
    if (at != data_size)
        refuse(label, "has " + std::to_string(data_size - at) + " bytes after its last tensor");
    return places;
}

safetensors safetensors::parse(const std::string& label, const char* bytes, size_t size)
{
    if (size > max_file)
        refuse(label, "is larger than " + std::to_string(max_file >> 20) + " MiB");
    if (size < 8)
        refuse(label, "has " + std::to_string(size) + " bytes, too few for a safetensors file");
    const uint64_t header = little_endian(reinterpret_cast<const unsigned char*>(bytes));
    if (header > max_header || header > size - 8)
        refuse(label, "claims a header of " + std::to_string(header) + " bytes, the file has " +
                          std::to_string(size) + "; it is cut short or no safetensors file");
    safetensors file;
    const char* data = bytes + 8 + header;
    for (const place& p : file.parse_header(label, bytes + 8, header, size - 8 - header)) {
        tensor& t = file.d_tensors[p.name];
        t.values.resize((p.end - p.begin) / sizeof(float));
        static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                      "tensors are copied as they lie in the file");
        if (!t.values.empty())
            std::memcpy(t.values.data(), data + p.begin, p.end - p.begin);
        for (size_t i = 0; i < t.values.size(); i++) {
            if (!std::isfinite(t.values[i]))
                refuse(label,
                       "tensor " + quoted(p.name) + " holds NaN or infinity at element " + std::to_string(i));
            if (std::abs(t.values[i]) > max_weight)
                refuse(label, "tensor " + quoted(p.name) + " holds " + std::to_string(t.values[i]) +
                                  " at element " + std::to_string(i) +
                                  ", weights are at most 1e6: its products would overflow");
        }
    }
    return file;
}

namespace {

//! Opens a regular file (a pipe would block, a folder would not say why) and gives its size.
uint64_t open_file(std::ifstream& in, const std::string& path)
{
    namespace fs = std::filesystem;
    std::error_code error;
    if (!fs::is_regular_file(path, error))
        refuse(path, fs::exists(path, error) ? "is no regular file" : "there is no such file");
    const uint64_t size = fs::file_size(path, error);
    in.open(path, std::ios::binary);
    if (error || !in)
        refuse(path, "cannot be read; check its permissions");
    return size;
}

} // namespace

safetensors safetensors::read(const std::string& path)
{
    std::ifstream in;
    const uint64_t size = open_file(in, path);
    if (size > max_file)
        refuse(path, "is larger than " + std::to_string(max_file >> 20) + " MiB");
    std::vector<char> bytes(size);
    if (!in.read(bytes.data(), std::streamsize(size)))
        refuse(path, "cannot be read to its end");
    return parse(path, bytes.data(), bytes.size());
}

safetensors safetensors::read_header(const std::string& path)
{
    std::ifstream in;
    const uint64_t size = open_file(in, path);
    unsigned char first[8];
    if (size < 8 || !in.read(reinterpret_cast<char*>(first), 8))
        refuse(path, "has " + std::to_string(size) + " bytes, too few for a safetensors file");
    const uint64_t header = little_endian(first);
    if (size > max_file || header > max_header || header > size - 8)
        refuse(path, "claims a header of " + std::to_string(header) + " bytes, the file has " +
                         std::to_string(size) + "; it is cut short or no safetensors file");
    std::vector<char> text(header);
    if (!in.read(text.data(), std::streamsize(header)))
        refuse(path, "cannot be read to the end of its header");
    safetensors file;
    file.parse_header(path, text.data(), text.size(), size - 8 - header);
    return file;
}

} // namespace gr::diffusion::engine
