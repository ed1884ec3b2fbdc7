/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data_file.h"
#include <dlfcn.h>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace fs = std::filesystem;

namespace gr::diffusion::dsp {

namespace {

std::vector<fs::path> folders()
{
    std::vector<fs::path> result;
    if (const char* list = std::getenv("GR_DIFFUSION_MODELS")) {
        std::stringstream stream(list);
        for (std::string folder; std::getline(stream, folder, ':');)
            if (!folder.empty())
                result.emplace_back(folder);
    }
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&find_data_file), &info) && info.dli_fname)
        result.push_back(fs::absolute(info.dli_fname).parent_path() / DIFFUSION_LIB_TO_DATA / "models");
    return result;
}

} // namespace

std::string find_data_file(const std::string& name, const std::string& extension)
{
    std::error_code ignored;
    if (!name.empty() && fs::is_regular_file(name, ignored))
        return name;
    std::string searched;
    const bool plain = !name.empty() && name.find('/') == std::string::npos;
    for (const auto& folder : folders()) {
        const fs::path candidate = folder / (name + extension);
        if (plain && fs::is_regular_file(candidate, ignored))
            return candidate.lexically_normal().string();
        searched += " " + folder.lexically_normal().string();
    }
    throw std::invalid_argument("'" + name + "' is no file, and " + name + extension +
                                " is in none of:" + searched +
                                " (add its folder to GR_DIFFUSION_MODELS)");
}

} // namespace gr::diffusion::dsp
