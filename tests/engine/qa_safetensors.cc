/* SPDX-License-Identifier: GPL-3.0-or-later */
// Files come from strangers: whatever they hold, the answer is a model or one sentence.
#include "engine/readable.h"
#include "engine/safetensors.h"
#include "file_maker.h"
#include <gnuradio/diffusion/model.h>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace gr::diffusion::engine;

namespace {

file_maker good()
{
    std::mt19937 random(1);
    file_maker file;
    file.add("a", { 3, 2 }, random, 1);
    file.add("b", { 4 }, random, 1);
    return file;
}

safetensors parse(const std::vector<char>& bytes)
{
    return safetensors::parse("file", bytes.data(), bytes.size());
}

void refused(const std::vector<char>& bytes, const std::string& reason)
{
    try {
        parse(bytes);
        BOOST_ERROR("accepted, should say: " + reason);
    } catch (const model_error& e) {
        BOOST_TEST(std::string(e.what()).find(reason) != std::string::npos,
                   e.what() << " | should say: " << reason);
        BOOST_TEST(std::string(e.what()).find("file: ") == 0);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(reads_what_was_written)
{
    const file_maker file = good();
    const safetensors read = parse(file.bytes());
    BOOST_TEST(read.parameters() == 10u);
    BOOST_TEST(read.metadata().count("gr_diffusion") == 1u);
    for (const auto& [name, t] : file.tensors) {
        BOOST_TEST(read.tensors().at(name).shape == t.first);
        BOOST_TEST(read.tensors().at(name).values == t.second);
    }
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused)
{
    const std::vector<char> whole = good().bytes();
    for (size_t n = 0; n < whole.size(); n++)
        BOOST_CHECK_THROW(safetensors::parse("file", whole.data(), n), model_error);
}

BOOST_AUTO_TEST_CASE(huge_claims_are_refused_before_anything_is_allocated)
{
    std::vector<char> bytes = good().bytes();
    for (int i = 0; i < 8; i++)
        bytes[i] = char(0xff);
    refused(bytes, "claims a header of 18446744073709551615 bytes");

    auto with = [](const char* key, nlohmann::json value, const char* name = "a") {
        const file_maker file = good();
        nlohmann::json header = file.header();
        header[name][key] = std::move(value);
        return file.bytes(header.dump());
    };
    refused(with("shape", { 4294967296u, 4294967296u }), "more than the file holds");
    refused(with("shape", { 18446744073709551615u }), "more than the file holds");
    refused(with("shape", { 3, 3 }), "its shape needs 36");
    refused(with("shape", { -3, -2 }), "must be a whole number");
    refused(with("shape", { 1.5 }), "must be a whole number");
    refused(with("shape", nlohmann::json(std::vector<int>(9, 1))), "at most 8");
    refused(with("data_offsets", { 0, 1000 }), "cut short");
    refused(with("data_offsets", { 24, 0 }), "spans bytes 24 to 0");
    refused(with("data_offsets", { 0, 24 }, "b"), "its shape needs 16");
    refused(with("data_offsets", { 8, 24 }, "b"), "overlaps");
    refused(with("dtype", "F16"), "only F32");
    refused(with("dtype", 3), "only F32");
}

BOOST_AUTO_TEST_CASE(gaps_and_leftovers_are_refused)
{
    file_maker file = good();
    std::vector<char> bytes = file.bytes();
    bytes.push_back(0);
    refused(bytes, "after its last tensor");

    nlohmann::json header = file.header();
    header.erase("a");
    refused(file.bytes(header.dump()), "leaves a gap");
}

BOOST_AUTO_TEST_CASE(nan_and_infinity_are_refused)
{
    for (float bad : { std::nanf(""), HUGE_VALF, -HUGE_VALF }) {
        file_maker file = good();
        file.tensors["b"].second[2] = bad;
        refused(file.bytes(), "tensor 'b' holds NaN or infinity at element 2");
    }
}

BOOST_AUTO_TEST_CASE(absurd_weights_are_refused)
{
    file_maker file = good();
    file.tensors["b"].second[2] = -1e6F;
    BOOST_TEST(parse(file.bytes()).parameters() == 10u);
    file.tensors["b"].second[2] = 1.1e6F;
    refused(file.bytes(), "weights are at most 1e6");
}

BOOST_AUTO_TEST_CASE(errors_are_utf8_whatever_the_file_holds)
{
    refused(good().bytes("{\"a\": \xff\x80}"), "no valid JSON");
    for (const char* part :
         { "\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x07", "\xe2\x82" })
        BOOST_TEST(readable(std::string("a") + part + "b").find_first_not_of("a?b") ==
                   std::string::npos);
    for (const char* part : { "\u00e4", "\u20ac", "\U0001f600" })
        BOOST_TEST(readable(part) == part);
}

BOOST_AUTO_TEST_CASE(broken_headers_are_refused)
{
    const file_maker file = good();
    refused(file.bytes("[1]"), "no JSON object");
    refused(file.bytes("{\"a\": "), "no valid JSON");
    refused(file.bytes("{\"a\": 1e999}"), "no valid JSON");
    refused(file.bytes("{\"a\": 3}"), "lacks dtype");
    refused(file.bytes("{\"__metadata__\": {\"x\": 3}}"), "no string");
    refused(file.bytes(std::string(100000, '[')), "nested too deeply");
    const std::string entry = "\"a\": {\"dtype\": \"F32\", \"shape\": [10], \"data_offsets\": [0, 40]}";
    BOOST_TEST(parse(file.bytes("{" + entry + "}")).parameters() == 10u);
    refused(file.bytes("{" + entry + ", " + entry + "}"), "twice");
}

BOOST_AUTO_TEST_CASE(flipped_bytes_never_crash)
{
    const std::vector<char> whole = good().bytes();
    std::mt19937 random(2);
    for (int i = 0; i < 20000; i++) {
        std::vector<char> bytes = whole;
        for (int flips = 1 + random() % 4; flips > 0; flips--)
            bytes[random() % bytes.size()] = char(random());
        try {
            parse(bytes);
        } catch (const model_error&) {
        }
    }
}
