/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

//! A tensor of a file: row-major float32, every value finite.
struct tensor {
    std::vector<size_t> shape;
    std::vector<float> values;
};

/*! The safetensors container: u64 little-endian header length, JSON header, then raw tensors.
 *
 * Files come from strangers. Before anything is allocated its size is checked against the bytes that
 * exist; only F32 tensors are taken, they must lie inside the file one after the other without gap or
 * overlap, and hold finite values. */
class DIFFUSION_API safetensors
{
public:
    static constexpr uint64_t max_file = uint64_t(1) << 30;
    static constexpr uint64_t max_header = uint64_t(8) << 20;
    static constexpr size_t max_dims = 8;

    //! \throws model_error naming the file, the value and the reason
    static safetensors read(const std::string& path);
    //! Header only: tensors have shapes and no values.
    static safetensors read_header(const std::string& path);
    static safetensors parse(const std::string& label, const char* bytes, size_t size);

    const std::map<std::string, tensor>& tensors() const { return d_tensors; }
    const std::map<std::string, std::string>& metadata() const { return d_metadata; }
    //! Numbers in all tensors.
    uint64_t parameters() const { return d_parameters; }

private:
    struct place {
        std::string name;
        uint64_t begin, end;
    };
    //! Checks the header against the size of the file and fills all but the values.
    std::vector<place> parse_header(const std::string& label, const char* text, size_t size,
                                    uint64_t data_size);

    std::map<std::string, tensor> d_tensors;
    std::map<std::string, std::string> d_metadata;
    uint64_t d_parameters = 0;
};

} // namespace gr::diffusion::engine
