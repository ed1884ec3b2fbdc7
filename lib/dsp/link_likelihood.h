/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "link_law.h"

namespace gr::diffusion::dsp {

/*! Likelihood of known symbols that a converter put into cells, as a function of the centroids (2 M rails),
 * the additive noise E|n|^2 and the standard deviation of the phase in radians. */
class link_likelihood
{
public:
    link_likelihood(size_t m, const int* index, const std::complex<float>* y, size_t n, double step,
                    size_t half);

    void set_half(size_t half) { d_half = int(half); }
    /*! Symbols not known, by a law that tells how likely each is in its cell: replaces those set before.
     *  \param weight of one of them beside a known symbol
     *  \param squared whether count() takes their squared posteriors
     *  \return what they count for: the sum of their squared posteriors */
    double set_unknown(const std::vector<std::complex<float>>& points, const link_law& law,
                       const std::complex<float>* y, size_t n, double weight, bool squared);
    //! Known symbols, and unknown ones by their posteriors; squared, what the law is unsure of hardly counts.
    double count(size_t symbol) const { return d_count[symbol]; }

    //! \param gradient by the rails of the centroids, if wanted
    double log_likelihood(const std::vector<double>& mean, double additive, double phase_std,
                          std::vector<double>* gradient = nullptr) const;
    //! Expected Fisher information of the rails, their noises taken as independent.
    void precision(const std::vector<double>& mean, double additive, double phase_std,
                   std::vector<double>& information) const;

    static std::vector<link_law::node> phase_nodes(double phase_std, double radius, double additive,
                                                   double step);

private:
    struct seen { // symbols that are the same in all
        int symbol, re, im;
        double times;
    };
    std::vector<seen> d_seen; // by symbol; unknown symbols from d_known on
    size_t d_known = 0;
    std::vector<double> d_count, d_known_count;
    double d_step;
    int d_half;
};

} // namespace gr::diffusion::dsp
