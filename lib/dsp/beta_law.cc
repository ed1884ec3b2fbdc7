/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "beta_law.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

double beta_tail(int a, int b, double x)
{
    // The order statistics of uniforms: P(Beta(a, b) > x) = P(Binomial(a + b - 1, x) < a).
    if (x <= 0)
        return 1;
    if (x >= 1)
        return 0;
    const double n = a + b - 1;
    double sum = 0;
    for (int i = 0; i < a; i++)
        sum += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1.0) - std::lgamma(n - i + 1) + i * std::log(x) +
                        (n - i) * std::log1p(-x));
    return std::min(sum, 1.0);
}

double beta_threshold(int a, int b, double tail)
{
    double low = 0, high = 1;
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        (beta_tail(a, b, middle) > tail ? low : high) = middle;
    }
    return high;
}

} // namespace gr::diffusion::dsp
