/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace gr::diffusion::engine {

//! A model file cannot be used: one sentence that names the file, the value and the reason.
class DIFFUSION_API model_error : public std::invalid_argument
{
public:
    using std::invalid_argument::invalid_argument;
};

//! What a network's output stands for, in the words of the diffusers library.
enum class prediction { epsilon, sample, v_prediction, posterior };

//! One line of the list of models: read from the file's header, its weights untouched.
struct DIFFUSION_API model_info {
    std::string name;        //!< what to pass to model::load()
    std::string task;        //!< receiver, estimator or shaper
    uint64_t parameters = 0; //!< trained numbers in the file
    std::string path;        //!< the file
    std::string card;        //!< its description (Markdown) or "" if there is none
    std::string error;       //!< why it cannot be used, or ""
};

/*! The models that a name may stand for: every *.safetensors in the folders of $GR_DIFFUSION_MODELS
 * (separated by colons) and in the installed share/gr-diffusion/models; the first of a name counts. */
DIFFUSION_API std::vector<model_info> models();

/*! The file behind a name: an existing file's path is itself, else NAME.safetensors is looked for in
 * the folders that models() lists.
 * \throws model_error listing the names that exist */
DIFFUSION_API std::string model_path(const std::string& name_or_path);

struct model_data; // the parsed file, lib/engine/model_data.h

/*! One model file, checked and read: immutable, so that any number of blocks and threads share it.
 *
 * The format is described in docs/model-file.md. Nothing is used that was not checked: sizes against
 * the file before anything is allocated, every weight finite, every name known, and the network built
 * once from it.
 */
class DIFFUSION_API model
{
public:
    using sptr = std::shared_ptr<const model>;

    //! \throws model_error naming file, value and reason
    static sptr load(const std::string& name_or_path);
    //! The same from memory; \p label stands for the file in errors.
    static sptr parse(const std::string& label, const std::vector<char>& bytes);

    ~model();
    model(const model&) = delete;
    model& operator=(const model&) = delete;

    const std::string& path() const;
    const std::string& name() const;
    const std::string& task() const;
    //! Network kind, e.g. "film_mlp".
    const std::string& kind() const;
    uint64_t parameters() const;
    prediction prediction_type() const;
    //! SNR range trained on, dB: {lowest, highest}.
    std::pair<double, double> snr_db() const;
    //! Unit-power points, points[i] labelled by the bits of i, most significant first; may be empty.
    const std::vector<std::complex<float>>& constellation() const;
    //! log2 of the number of points, 0 without a constellation.
    int bits_per_symbol() const;
    //! The description (metadata key "gr_diffusion") as JSON text.
    std::string description() const;

    //! For the engine's own parts.
    const model_data& data() const { return *d_data; }

private:
    explicit model(std::unique_ptr<model_data> data);
    std::unique_ptr<model_data> d_data;
};

} // namespace gr::diffusion::engine
