/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dense.h"
#include <gnuradio/diffusion/model.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::engine {

/*! A bank of learned delay profiles beside the steps of delay_net, and the gate between the two estimates.
 *
 * Member k believes g ~ CN(0, diag(gamma_k)); the pilots weigh the members by their evidence and the estimate
 * is the posterior mean of the mixture. The torch reference, with what it does and why, is
 * python/diffusion/nn/profile_bank.py. Noise enters as a multiple of the identity, so one eigendecomposition
 * a member in set_pilots() serves every frame: S_k = U (diag(lambda) + sigma^2) U^H.
 *
 * Memory is taken in the constructor and in set_pilots() only.
 */
class DIFFUSION_API profile_bank
{
public:
    //! More pilots than this determine the channel without it; it then stands aside.
    static constexpr size_t most_pilots = 32;

    //! \param inputs channels of the steps' hidden layers: what they see takes part in the gate
    //! \throws model_error
    profile_bank(const model& file, size_t carriers, size_t taps, size_t members, size_t inputs);

    //! \param pilots indices of carriers, distinct, all valid
    void set_pilots(const std::vector<int>& pilots);
    bool active() const { return d_active; }

    /*! Mixes its own estimate into that of the steps. All in units where y has unit mean power.
     * \param y one value a pilot
     * \param noise sigma^2
     * \param seen what the last step saw: `inputs` means over the delays, then the two conditions
     * \param h carriers values: in the steps' estimate, out the mixture
     * \param base its variance, carriers values > 0: in that of the steps, out that of the mixture */
    void mix(const std::complex<double>* y, double noise, const float* seen, std::complex<float>* h,
             float* base);

private:
    using complex = std::complex<double>;
    struct member {
        std::vector<double> gamma;
        double power;                 // sum of gamma
        std::vector<double> lambda;   // eigenvalues of F_p diag(gamma) F_p^H
        std::vector<complex> adjoint; // U^H, pilots x pilots
        std::vector<float> answer;    // F diag(gamma) F_p^H U by columns: pilots x (carriers re, carriers im)
        std::vector<double> gain;     // mean over the carriers of |answer|^2, pilots
    };

    size_t d_carriers, d_taps, d_inputs;
    bool d_active = false;
    std::vector<int> d_pilots;
    std::vector<member> d_members;
    std::vector<float> d_prior; // weights (members x 2), then biases
    packed_dense d_gate1, d_gate2;
    std::vector<complex> d_projected;
    std::vector<float> d_h; // the bank's estimate: carriers re, carriers im
    std::vector<double> d_log, d_quad;
    std::vector<float> d_facts, d_hidden;
};

/*! Eigendecomposition of a Hermitian matrix by Jacobi rotations (Golub and van Loan, Matrix computations,
 * 8.5), for a few dozen rows.
 * \param a n x n row-major; its diagonal holds the eigenvalues afterwards
 * \param u n x n row-major, out: columns are the eigenvectors */
DIFFUSION_API void hermitian_eigen(std::complex<double>* a, std::complex<double>* u, size_t n);

} // namespace gr::diffusion::engine
