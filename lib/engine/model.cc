/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "model_data.h"
#include "readable.h"
#include <dlfcn.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

namespace gr::diffusion::engine {

namespace fs = std::filesystem;

namespace {

constexpr int format_version = 1;
constexpr size_t max_points = 4096;

std::map<std::string, void (*)(const model&)>& kinds()
{
    static std::map<std::string, void (*)(const model&)> known;
    return known;
}

std::vector<std::string> folders()
{
    std::vector<std::string> out;
    if (const char* list = std::getenv("GR_DIFFUSION_MODELS")) {
        std::stringstream text(list);
        for (std::string folder; std::getline(text, folder, ':');)
            if (!folder.empty())
                out.push_back(folder);
    }
    Dl_info library;
    if (dladdr(reinterpret_cast<const void*>(&format_version), &library) && library.dli_fname) {
        std::error_code error;
        const fs::path real = fs::canonical(library.dli_fname, error);
        if (!error)
            out.push_back(
                (real.parent_path() / DIFFUSION_LIB_TO_DATA / "models").lexically_normal().string());
    }
    return out;
}

std::vector<std::string> files_of(const std::string& folder)
{
    std::vector<std::string> out;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
        if (it->path().extension() == ".safetensors" && fs::is_regular_file(it->path(), error))
            out.push_back(it->path().string());
    std::sort(out.begin(), out.end());
    return out;
}

//! The description in a file's metadata, and the few fields that every task shares.
void read_description(model_data& data)
{
    const auto found = data.file.metadata().find("gr_diffusion");
    if (found == data.file.metadata().end())
        throw model_error(data.path +
                          ": its metadata has no key gr_diffusion; it is no model of this project");
    auto shallow = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        if (depth > 16)
            throw model_error(data.path + ": its description is nested too deeply");
        return true;
    };
    try {
        data.description = nlohmann::json::parse(found->second, shallow);
    } catch (const nlohmann::json::exception& e) {
        throw model_error(data.path + ": its description is no valid JSON (" + readable(e.what()) + ")");
    }
    const json_reader top = data.reader();
    if (top.count("format", 0, 1000000) != format_version)
        top.wrong("format", "this version reads format " + std::to_string(format_version));
    data.name = top.string("name");
    data.task = top.choice("task", { "receiver", "estimator", "shaper", "sequence" });
    data.kind = top.object("network").string("kind");
}

void read_constellation(model_data& data)
{
    const json_reader reader = data.reader("constellation");
    double power = 0;
    for (const auto& point : reader.array("points", max_points)) {
        if (!point.is_array() || point.size() != 2 || !point[0].is_number() || !point[1].is_number())
            reader.wrong("points", "must be a list of pairs [re, im]");
        const std::complex<double> c(point[0].get<double>(), point[1].get<double>());
        power += std::norm(c);
        data.constellation.emplace_back(c);
    }
    const size_t m = data.constellation.size();
    if (m < 2 || (m & (m - 1)) != 0)
        reader.wrong("points", "their number must be a power of two, here it is " + std::to_string(m));
    if (!(std::abs(power / double(m) - 1) < 1e-3))
        reader.wrong("points", "their mean power must be 1, here it is " + std::to_string(power / double(m)));
}

void read_common(model_data& data)
{
    const json_reader top = data.reader();
    if (!kinds().count(data.kind)) {
        std::string known;
        for (const auto& kind : kinds())
            known += (known.empty() ? "" : ", ") + kind.first;
        top.object("network").wrong("kind", "this version knows: " + known);
    }
    const std::string type = top.choice(
        "prediction_type", { "epsilon", "eps", "sample", "x0", "v_prediction", "v", "posterior" });
    data.prediction_type = type[0] == 'e'   ? prediction::epsilon
                           : type[0] == 'v' ? prediction::v_prediction
                           : type[0] == 'p' ? prediction::posterior
                                            : prediction::sample;
    const auto range = top.numbers("snr_db", -200, 200, 2);
    if (range.size() != 2 || range[0] > range[1])
        top.wrong("snr_db", "must be [lowest, highest]");
    data.snr_db = { range[0], range[1] };
    if (top.has("constellation"))
        read_constellation(data);
    if (data.prediction_type == prediction::posterior && data.constellation.empty())
        top.wrong("constellation", "a model that predicts posteriors needs one");
}

model_info info_of(const std::string& path)
{
    model_info info;
    info.path = path;
    info.name = fs::path(path).stem().string();
    const fs::path card = fs::path(path).replace_extension(".md");
    std::error_code error;
    if (fs::is_regular_file(card, error))
        info.card = card.string();
    try {
        model_data data;
        data.path = path;
        data.file = safetensors::read_header(path);
        read_description(data);
        info.task = data.task;
        info.parameters = data.file.parameters();
    } catch (const model_error& e) {
        info.error = e.what();
    }
    return info;
}

} // namespace

network_kind::network_kind(const char* name, void (*check)(const model&)) { kinds()[name] = check; }

const std::vector<float>& model_data::tensor(const std::string& name, const std::vector<size_t>& shape) const
{
    auto text = [](const std::vector<size_t>& sizes) {
        std::string out;
        for (size_t s : sizes)
            out += (out.empty() ? "[" : ", ") + std::to_string(s);
        return sizes.empty() ? std::string("[]") : out + "]";
    };
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end())
        throw model_error(path + ": tensor '" + name + "' of shape " + text(shape) + " is missing");
    if (found->second.shape != shape)
        throw model_error(path + ": tensor '" + name + "' has shape " + text(found->second.shape) +
                          ", its description needs " + text(shape));
    return found->second.values;
}

std::vector<model_info> models()
{
    std::vector<model_info> out;
    std::set<std::string> seen;
    for (const auto& folder : folders())
        for (const auto& path : files_of(folder))
            if (seen.insert(fs::path(path).stem().string()).second)
                out.push_back(info_of(path));
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return out;
}

std::string model_path(const std::string& name)
{
    std::error_code error;
    if (fs::is_regular_file(name, error))
        return name;
    if (!name.empty() && name.find('/') == std::string::npos)
        for (const auto& folder : folders()) {
            const std::string path = folder + "/" + name + ".safetensors";
            if (fs::is_regular_file(path, error))
                return path;
        }
    std::string known;
    for (const auto& info : models())
        known += (known.empty() ? "" : ", ") + info.name;
    throw model_error(
        "model '" + name + "' is neither a file nor the name of a model; there are: " +
        (known.empty() ? "none (is the module installed, or GR_DIFFUSION_MODELS set?)" : known));
}

model::model(std::unique_ptr<model_data> data) : d_data(std::move(data))
{
    read_description(*d_data);
    read_common(*d_data);
    kinds().at(d_data->kind)(*this);
}

model::~model() = default;

model::sptr model::load(const std::string& name_or_path)
{
    auto data = std::make_unique<model_data>();
    data->path = model_path(name_or_path);
    data->file = safetensors::read(data->path);
    return sptr(new model(std::move(data)));
}

model::sptr model::parse(const std::string& label, const std::vector<char>& bytes)
{
    auto data = std::make_unique<model_data>();
    data->path = label;
    data->file = safetensors::parse(label, bytes.data(), bytes.size());
    return sptr(new model(std::move(data)));
}

const std::string& model::path() const { return d_data->path; }
const std::string& model::name() const { return d_data->name; }
const std::string& model::task() const { return d_data->task; }
const std::string& model::kind() const { return d_data->kind; }
uint64_t model::parameters() const { return d_data->file.parameters(); }
prediction model::prediction_type() const { return d_data->prediction_type; }
std::pair<double, double> model::snr_db() const { return d_data->snr_db; }
const std::vector<std::complex<float>>& model::constellation() const { return d_data->constellation; }
std::string model::description() const { return d_data->description.dump(); }

int model::bits_per_symbol() const
{
    int bits = 0;
    while ((size_t(1) << bits) < d_data->constellation.size())
        bits++;
    return bits;
}

} // namespace gr::diffusion::engine
