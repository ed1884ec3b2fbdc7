/* SPDX-License-Identifier: GPL-3.0-or-later */
// The receivers' estimator stage: how many steps it takes, and the second look at a frame.
#include "dsp/pilot_estimator.h"
#include "dsp/stages.h"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

using namespace gr::diffusion::dsp;
using cf = std::complex<float>;

namespace {

constexpr int fft_len = 64, cp_len = 4; // a prefix that short leaves the stage's timing where it is
const std::string model = DIFFUSION_SOURCE_DIR "/models/ce-ofdm64.safetensors";

//! Two paths on the carriers from -26 on but for 0, every `spacing`-th, with noise.
channel_observation observed(int spacing, float noise_var, unsigned seed, std::vector<cf>* truth = nullptr)
{
    std::mt19937 source(seed);
    std::normal_distribution<float> normal(0, std::sqrt(noise_var / 2));
    channel_observation o;
    for (int k = -32; k < 32; k++) {
        const cf h = std::polar(0.8f, -0.02f * float(k)) + std::polar(0.6f, 1 - 0.35f * float(k));
        if (truth)
            truth->push_back(h);
        if (k < -26 || k > 26 || k == 0 || (k + 26) % spacing)
            continue;
        o.carriers.push_back(k);
        o.ls.push_back(h + cf(normal(source), normal(source)));
        o.noise_var.push_back(noise_var);
    }
    return o;
}

double distance(const std::vector<cf>& a, const std::vector<cf>& b)
{
    double sum = 0;
    for (size_t i = 6; i < 59; i++)
        sum += std::norm(a[i] - b[i]);
    return sum;
}

} // namespace

BOOST_AUTO_TEST_CASE(half_the_steps_where_nearly_every_carrier_is_known)
{
    for (int spacing : { 1, 4 }) {
        const auto o = observed(spacing, 0.01f, 1);
        const auto stage = make_channel_stage("diffusion", fft_len, cp_len, model);
        channel_estimate out;
        stage->estimate(o, out);
        BOOST_TEST(stage->steps() == (spacing == 1 ? 2u : 4u));

        const auto own = make_pilot_estimator("diffusion", fft_len, model);
        std::vector<int> pilots;
        for (int k : o.carriers)
            pilots.push_back(k + fft_len / 2);
        own->set_pilots(pilots);
        own->set_steps(stage->steps());
        std::vector<cf> h(fft_len);
        std::vector<float> error(fft_len);
        own->estimate(o.ls.data(), 1, 0.01f, h.data(), error.data());
        BOOST_TEST(h == out.h, boost::test_tools::per_element());
        BOOST_TEST(error == out.error_var, boost::test_tools::per_element());
        stage->set_steps(1); // as a compute budget does
        stage->estimate(o, out);
        BOOST_TEST(stage->steps() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(second_look_keeps_the_belief)
{
    std::vector<cf> truth;
    auto o = observed(1, 0.1f, 1, &truth);
    const auto stage = make_channel_stage("diffusion", fft_len, cp_len, model);
    channel_estimate first, same, better;
    stage->estimate(o, first);
    o.again = true;
    same = first;
    stage->estimate(o, same);
    BOOST_TEST(same.h == first.h, boost::test_tools::per_element());
    BOOST_TEST(same.error_var == first.error_var, boost::test_tools::per_element());

    auto more = observed(1, 0.001f, 2);
    more.again = true;
    better = first;
    stage->estimate(more, better);
    BOOST_TEST(distance(better.h, truth) < 0.1 * distance(first.h, truth)); // the noise fell by 20 dB

    channel_estimate anew; // what starts from nothing knows the delays better than the noisier look did
    more.again = false;
    make_channel_stage("diffusion", fft_len, cp_len, model)->estimate(more, anew);
    BOOST_TEST(distance(better.h, truth) < 4 * distance(anew.h, truth));
}

BOOST_AUTO_TEST_CASE(second_look_without_a_first)
{
    auto o = observed(1, 0.01f, 1);
    channel_estimate first, again;
    make_channel_stage("diffusion", fft_len, cp_len, model)->estimate(o, first);
    o.again = true;
    make_channel_stage("diffusion", fft_len, cp_len, model)->estimate(o, again);
    BOOST_TEST(first.h == again.h, boost::test_tools::per_element());
}
