/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "split_matrix.h"
#include "vectorise.h"
#include <algorithm>

namespace gr::diffusion::engine {

namespace {
DIFFUSION_VECTORISE void product(size_t rows, size_t inner, size_t cols, const double* a_re,
                                 const double* a_im, const double* b_re, const double* b_im, double* re,
                                 double* im)
{
    std::fill_n(re, rows * cols, 0.0);
    std::fill_n(im, rows * cols, 0.0);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < inner; k++)
            add_row(a_re[i * inner + k], a_im[i * inner + k], b_re + k * cols, b_im + k * cols, re + i * cols,
                    im + i * cols, cols);
}
} // namespace

void multiply(const split_matrix& a, const split_matrix& b, split_matrix& out)
{
    product(a.rows, a.cols, b.cols, a.re.data(), a.im.data(), b.re.data(), b.im.data(), out.re.data(),
            out.im.data());
}

} // namespace gr::diffusion::engine
