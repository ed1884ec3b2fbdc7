/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_block.h>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! \brief MIMO channel from pilots, y = H P + n, by a trained model or a classical method.
 * \ingroup diffusion
 *
 * Input: vectors of Nr x Np complex values, row-major: what each of the Nr receive antennas observed in each
 * of the Np pilot slots. Output 0: vectors of Nr x Nt, the channel, row-major. Output 1 (optional): float,
 * one for each vector, E|h - truth|^2 as the mean over the antenna pairs. Antenna index of a planar array =
 * column * rows + row. The scale of y and P is free.
 *
 * Methods: "diffusion" (the model), "ls" (least squares), "nomp" (Newtonized orthogonal matching pursuit:
 * plane waves off the grid, the one to beat on ideal arrays), "sbl" (sparse Bayesian learning over beams) and
 * "auto" (model and nomp in the proportion that suits the array at hand, found from the pilots; twice the
 * time of both). The model says what the arrays are for all of them.
 *
 * The noise variance is that of y. A tag "noise_var" on an input vector changes it from there on; so does
 * a message on port "cmd", a dictionary or pair with "noise_var", "method" or "model" (which must keep Nr and
 * Nt). What is wrong is logged and changes nothing. A vector with a NaN or Inf gives a channel of zeros and
 * an infinite error variance, and is counted.
 */
class DIFFUSION_API mimo_channel_estimator : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<mimo_channel_estimator> sptr;

    /*! \param model name or path of a model of a MIMO channel estimator
     *  \param pilots P, row-major Nt x Np; its length says what Np is
     *  \param noise_var E|n|^2 of y, > 0
     *  \param method diffusion, ls, nomp, sbl or auto
     *  \throws std::exception if the model or a value cannot be used, saying why */
    static sptr make(const std::string& model, const std::vector<gr_complex>& pilots, float noise_var,
                     const std::string& method = "diffusion");

    virtual void set_model(const std::string& model) = 0;
    virtual void set_method(const std::string& method) = 0;
    //! Np must stay as it is.
    virtual void set_pilots(const std::vector<gr_complex>& pilots) = 0;
    virtual void set_noise_var(float noise_var) = 0;
    virtual std::string model() const = 0;
    virtual std::string method() const = 0;
    virtual float noise_var() const = 0;
    virtual int receivers() const = 0;
    virtual int transmitters() const = 0;
    //! Estimates so far.
    virtual uint64_t frames() const = 0;
    //! Input vectors that held a NaN or Inf.
    virtual uint64_t invalid_frames() const = 0;
};

} // namespace gr::diffusion
