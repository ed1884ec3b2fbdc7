/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <nlohmann/json.hpp>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

//! Writes model files in memory, right ones and wrong ones.
struct file_maker {
    std::map<std::string, std::pair<std::vector<size_t>, std::vector<float>>> tensors;
    nlohmann::json description;

    void add(const std::string& name, std::vector<size_t> shape, std::mt19937& random, float scale)
    {
        size_t n = 1;
        for (size_t s : shape)
            n *= s;
        std::normal_distribution<float> normal(0, scale);
        std::vector<float> values(n);
        for (float& v : values)
            v = normal(random);
        tensors[name] = { std::move(shape), std::move(values) };
    }

    nlohmann::json header() const
    {
        nlohmann::json out;
        out["__metadata__"]["gr_diffusion"] = description.dump();
        size_t at = 0;
        for (const auto& [name, t] : tensors) {
            const size_t end = at + 4 * t.second.size();
            out[name] = { { "dtype", "F32" }, { "shape", t.first }, { "data_offsets", { at, end } } };
            at = end;
        }
        return out;
    }

    std::vector<char> bytes(const std::string& header_text) const
    {
        std::string bytes;
        for (int i = 0; i < 8; i++)
            bytes += char(uint64_t(header_text.size()) >> (8 * i));
        bytes += header_text;
        for (const auto& [name, t] : tensors)
            bytes.append(reinterpret_cast<const char*>(t.second.data()), 4 * t.second.size());
        return { bytes.begin(), bytes.end() };
    }

    std::vector<char> bytes() const { return bytes(header().dump()); }
};
