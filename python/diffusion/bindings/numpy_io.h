/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <pybind11/complex.h>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <gnuradio/sync_block.h>
#include <complex>
#include <vector>

// What Python may pass: anything NumPy can view as, or safely turn into, this type.
using complex_array = pybind11::array_t<std::complex<float>,
                                        pybind11::array::c_style | pybind11::array::forcecast>;
using float_array = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;

//! Runs f(in, out, n) over an array of any shape, without the GIL, into a new array of that shape.
template <typename F>
complex_array map_array(const complex_array& x, F&& f)
{
    complex_array out(std::vector<pybind11::ssize_t>(x.shape(), x.shape() + x.ndim()));
    const auto* from = x.data();
    auto* to = out.mutable_data();
    const size_t n = x.size();
    pybind11::gil_scoped_release release;
    f(from, to, n);
    return out;
}
