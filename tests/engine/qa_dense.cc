/* SPDX-License-Identifier: GPL-3.0-or-later */
// The SIMD kernels against sums and functions in double precision.
#include "engine/dense.h"
#include "engine/panel.h"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <random>

using namespace gr::diffusion::engine;

namespace {

double exact(activation act, double x)
{
    switch (act) {
    case activation::relu:
        return std::max(x, 0.0);
    case activation::silu:
        return x / (1 + std::exp(-x));
    case activation::softplus:
        return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case activation::tanh:
        return std::tanh(x);
    default:
        return x;
    }
}

std::vector<float> noise(size_t n, unsigned seed, float scale = 1)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> out(n);
    for (float& x : out)
        x = normal(random);
    return out;
}

const activation all[] = { activation::none, activation::relu, activation::silu, activation::softplus,
                           activation::tanh };

// Worst error of a layer, in units of float rounding of the sum of magnitudes plus that of the function.
double worst_error(size_t n_in, size_t n_out, size_t rows, size_t in_stride, size_t out_stride,
                   activation act)
{
    const auto w = noise(n_in * n_out, 1, 1 / std::sqrt(float(n_in))), b = noise(n_out, 2);
    const auto x = noise((rows - 1) * in_stride + n_in, 3, 2);
    std::vector<float> y(rows * out_stride, -7);
    packed_dense(n_in, n_out, w.data(), b.data(), act).run(x.data(), in_stride, y.data(), out_stride, rows);
    double worst = 0;
    for (size_t i = 0; i < rows; i++) {
        for (size_t n = 0; n < n_out; n++) {
            double sum = b[n], magnitude = std::abs(b[n]);
            for (size_t k = 0; k < n_in; k++) {
                const double term = double(w[n * n_in + k]) * x[i * in_stride + k];
                sum += term;
                magnitude += std::abs(term);
            }
            const double e = exact(act, sum);
            worst = std::max(worst, std::abs(y[i * out_stride + n] - e) /
                                        (magnitude * 2e-7 + std::abs(e) * 1e-6 + 1e-7));
        }
        for (size_t n = n_out; n < out_stride; n++)
            BOOST_REQUIRE(y[i * out_stride + n] == -7);
    }
    return worst;
}

} // namespace

BOOST_AUTO_TEST_CASE(activations_are_accurate_to_2e_6)
{
    // One input, weight 1, bias 0: the layer is its activation.
    const float one = 1;
    std::vector<float> x;
    for (int i = -200000; i <= 200000; i++)
        x.push_back(float(i) * 2.5e-4f); // -50..50
    for (float far : { 80.f, 90.f, 200.f, 1e4f, 1e30f, 1e-20f })
        x.insert(x.end(), { far, -far });
    for (activation act : all) {
        std::vector<float> y(x.size());
        packed_dense(1, 1, &one, nullptr, act).run(x.data(), 1, y.data(), 1, x.size());
        double absolute = 0, relative = 0;
        for (size_t i = 0; i < x.size(); i++) {
            const double e = exact(act, x[i]);
            absolute = std::max(absolute, std::abs(y[i] - e) / std::max(1.0, std::abs(e)));
            if (std::abs(x[i]) < 15 && e != 0)
                relative = std::max(relative, std::abs(y[i] / e - 1));
        }
        BOOST_TEST(absolute < 1e-6, activation_names()[int(act)] << " is off by " << absolute);
        BOOST_TEST(relative < 2e-6, activation_names()[int(act)] << " is off by (relative) " << relative);
    }
}

BOOST_AUTO_TEST_CASE(every_shape_and_stride)
{
    for (activation act : all)
        for (size_t n_in : { 1, 2, 5, 31, 128 })
            for (size_t n_out : { 1, 2, 3, 16, 17, 33, 64, 127, 129 })
                for (size_t rows : { 1, 2, 5, 6, 7, 13 })
                    BOOST_TEST(worst_error(n_in, n_out, rows, n_in, n_out, act) < 1);
    BOOST_TEST(worst_error(96, 40, 50, 32, 40, activation::silu) < 1); // convolution of width 3
    BOOST_TEST(worst_error(10, 3, 9, 2, 7, activation::none) < 1);
    BOOST_TEST(worst_error(256, 256, 20, 300, 260, activation::tanh) < 1);
    BOOST_TEST(worst_error(600, 300, 7, 600, 300, activation::softplus) < 1);
}

BOOST_AUTO_TEST_CASE(cutting_the_batch_changes_no_bit)
{
    const size_t n_in = 37, n_out = 71, rows = 100;
    const auto w = noise(n_in * n_out, 1), b = noise(n_out, 2), x = noise(rows * n_in, 3);
    for (activation act : all) {
        const packed_dense layer(n_in, n_out, w.data(), b.data(), act);
        std::vector<float> whole(rows * n_out), cut(rows * n_out);
        layer.run(x.data(), n_in, whole.data(), n_out, rows);
        for (size_t step : { 1, 2, 3, 5, 11, 64 }) {
            for (size_t i = 0; i < rows; i += step)
                layer.run(x.data() + i * n_in, n_in, cut.data() + i * n_out, n_out, std::min(step, rows - i));
            BOOST_TEST(std::memcmp(whole.data(), cut.data(), 4 * whole.size()) == 0);
        }
    }
}

BOOST_AUTO_TEST_CASE(denormals_cost_nothing_and_stay_local)
{
    const std::vector<float> w(64 * 64, 1e-20f), x(64, 1e-20f);
    std::vector<float> y(64, 1);
    packed_dense(64, 64, w.data(), nullptr, activation::none).run(x.data(), 64, y.data(), 64, 1);
    BOOST_TEST(y[0] == 0);
    volatile float tiny = 1e-39f;
    BOOST_TEST(tiny * 0.5f != 0); // the caller's mode is restored
}

// The same for panels, where scale, shift and a second input join in.
BOOST_AUTO_TEST_CASE(panel_layers)
{
    const panel_kernels& k = kernels();
    const size_t P = k.rows;
    for (activation act : all)
        for (size_t n_in : { 1, 2, 5, 64 })
            for (size_t n_out : { 1, 2, 3, 4, 7, 8, 9, 16, 31 })
                for (size_t n2 : { 0, 5 }) {
                    const auto w = noise(n_in * n_out, 1, 0.3f), scale = noise(n_out, 2),
                               shift = noise(n_out, 3);
                    const auto w2 = noise(n2 * n_out, 4);
                    const panel_layer layer(n_in, n_out, w.data(), act);
                    aligned_floats x(n_in * P), x2(5 * P), y(n_out * P), packed(5 * n_out);
                    std::memcpy(x.data(), noise(n_in * P, 5).data(), 4 * n_in * P);
                    std::memcpy(x2.data(), noise(5 * P, 6).data(), 4 * 5 * P);
                    pack_panel_weight(n2, n_out, w2.data(), packed.data());
                    for (size_t vectors = 1; vectors <= P / k.lane; vectors++) {
                        for (size_t i = 0; i < y.size(); i++)
                            y[i] = -7;
                        k.layer(layer, scale.data(), shift.data(), x.data(), x2.data(), packed.data(), n2,
                                vectors, y.data());
                        double worst = 0;
                        for (size_t r = 0; r < P; r++)
                            for (size_t n = 0; n < n_out; n++) {
                                double sum = 0;
                                for (size_t j = 0; j < n_in; j++)
                                    sum += double(w[n * n_in + j]) * x[j * P + r];
                                sum = sum * scale[n] + shift[n];
                                for (size_t j = 0; j < n2; j++)
                                    sum += double(w2[n * n2 + j]) * x2[j * P + r];
                                const double e = r < vectors * k.lane ? exact(act, sum) : -7;
                                worst = std::max(worst, std::abs(y[n * P + r] - e));
                            }
                        BOOST_TEST(worst < 2e-5);
                    }
                }
}

BOOST_AUTO_TEST_CASE(posteriors_and_bit_ratios)
{
    const panel_kernels& k = kernels();
    const size_t P = k.rows;
    for (int bits : { 1, 2, 4, 6, 8 })
        for (float scale : { 1.0f, 10.0f }) {
            const size_t m = size_t(1) << bits;
            const auto l = noise(m * P, 7, scale), points = noise(2 * m, 8);
            aligned_floats p(m * P), mean(2 * P), ratio(bits * P);
            std::memcpy(p.data(), l.data(), 4 * m * P);
            k.posterior(p.data(), m, points.data(), P / k.lane, mean.data());
            k.bit_ratios(p.data(), bits, P / k.lane, ratio.data());
            for (size_t r = 0; r < P; r++) {
                double sum = 0, re = 0, im = 0;
                for (size_t c = 0; c < m; c++) {
                    const double e = std::exp(double(l[c * P + r]));
                    sum += e;
                    re += e * points[2 * c];
                    im += e * points[2 * c + 1];
                }
                BOOST_TEST(std::abs(mean[r] - re / sum) < 1e-5);
                BOOST_TEST(std::abs(mean[P + r] - im / sum) < 1e-5);
                for (int b = 0; b < bits; b++) {
                    double one = 0, zero = 0;
                    for (size_t c = 0; c < m; c++)
                        (c >> (bits - 1 - b) & 1 ? one : zero) += std::exp(double(l[c * P + r]));
                    BOOST_TEST(std::abs(ratio[b * P + r] - std::log(one / zero)) < 1e-4);
                }
            }
        }
}

// All of the above again with each instruction set that this machine has.
BOOST_AUTO_TEST_CASE(every_simd_target)
{
#ifdef __aarch64__
    BOOST_TEST(std::string(kernels().target) == "NEON");
#endif
    const char* chosen = std::getenv("GR_DIFFUSION_SIMD");
    if (chosen) {
        BOOST_TEST_MESSAGE("asked for " << chosen << ", runs " << kernels().target);
        return;
    }
    const std::string self = boost::unit_test::framework::master_test_suite().argv[0];
    for (const char* target : { "AVX3", "AVX2", "SSE4", "SSSE3", "SCALAR", "NEON", "EMU128" })
        BOOST_TEST(std::system(
                       ("GR_DIFFUSION_SIMD=" + std::string(target) + " '" + self + "' >/dev/null").c_str()) ==
                       0,
                   "fails with " << target);
}
