/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/model.h>
#include <nlohmann/json.hpp>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

/*! One JSON object of a model's description, read with checks: what is missing, of the wrong type or
 * out of range is refused in one sentence with file, key and value. */
class json_reader
{
public:
    using json = nlohmann::json;

    json_reader(const json& object, std::string label, std::string where = "")
        : d_object(object), d_label(std::move(label)), d_where(std::move(where))
    {
        if (!d_object.is_object())
            refuse(d_where.empty() ? "description" : d_where, "is no JSON object");
    }

    bool has(const std::string& key) const { return d_object.contains(key) && !d_object[key].is_null(); }

    json_reader object(const std::string& key) const { return { get(key), d_label, path(key) }; }

    std::string string(const std::string& key) const
    {
        const json& value = get(key);
        if (!value.is_string())
            wrong(key, "must be a string");
        return value.get<std::string>();
    }

    std::string string(const std::string& key, const std::string& otherwise) const
    {
        return has(key) ? string(key) : otherwise;
    }

    //! A string out of a list.
    std::string choice(const std::string& key, const std::vector<std::string>& options) const
    {
        const std::string value = string(key);
        std::string list;
        for (const auto& option : options) {
            if (value == option)
                return value;
            list += (list.empty() ? "" : ", ") + option;
        }
        wrong(key, "this version knows: " + list);
    }

    //! A whole number in lo..hi.
    size_t count(const std::string& key, size_t lo, size_t hi) const { return count(get(key), key, lo, hi); }

    std::vector<size_t> counts(const std::string& key, size_t lo, size_t hi, size_t most) const
    {
        std::vector<size_t> out;
        for (const json& item : array(key, most))
            out.push_back(count(item, key, lo, hi));
        return out;
    }

    //! A finite number in lo..hi.
    double number(const std::string& key, double lo, double hi) const
    {
        return number(get(key), key, lo, hi);
    }

    double number(const std::string& key, double lo, double hi, double otherwise) const
    {
        return has(key) ? number(key, lo, hi) : otherwise;
    }

    std::vector<double> numbers(const std::string& key, double lo, double hi, size_t most) const
    {
        std::vector<double> out;
        for (const json& item : array(key, most))
            out.push_back(number(item, key, lo, hi));
        return out;
    }

    std::vector<std::string> strings(const std::string& key, size_t most) const
    {
        std::vector<std::string> out;
        for (const json& item : array(key, most)) {
            if (!item.is_string())
                wrong(key, "must be a list of strings");
            out.push_back(item.get<std::string>());
        }
        return out;
    }

    const json& array(const std::string& key, size_t most) const
    {
        const json& value = get(key);
        if (!value.is_array() || value.size() > most)
            wrong(key, "must be a list of at most " + std::to_string(most) + " entries");
        return value;
    }

    //! Refuses the value of \p key.
    [[noreturn]] void wrong(const std::string& key, const std::string& reason) const
    {
        std::string value = d_object.contains(key) ? d_object[key].dump() : "missing";
        if (value.size() > 60)
            value = value.substr(0, 57) + "...";
        refuse(path(key), "is " + value + "; " + reason);
    }

    const std::string& label() const { return d_label; }

private:
    [[noreturn]] void refuse(const std::string& what, const std::string& why) const
    {
        throw model_error(d_label + ": " + what + " " + why);
    }

    std::string path(const std::string& key) const { return d_where.empty() ? key : d_where + "." + key; }

    const json& get(const std::string& key) const
    {
        if (!has(key))
            refuse(path(key), "is missing");
        return d_object[key];
    }

    size_t count(const json& value, const std::string& key, size_t lo, size_t hi) const
    {
        if (!value.is_number_unsigned() || value.get<uint64_t>() < lo || value.get<uint64_t>() > hi)
            wrong(key, "must be a whole number from " + std::to_string(lo) + " to " + std::to_string(hi));
        return value.get<size_t>();
    }

    double number(const json& value, const std::string& key, double lo, double hi) const
    {
        // Written so that NaN fails.
        if (!value.is_number() || !(value.get<double>() >= lo && value.get<double>() <= hi))
            wrong(key, "must be a number from " + short_text(lo) + " to " + short_text(hi));
        return value.get<double>();
    }

    static std::string short_text(double x) { return json(x).dump(); }

    const json& d_object;
    std::string d_label, d_where;
};

} // namespace gr::diffusion::engine
