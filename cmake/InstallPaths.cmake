# SPDX-License-Identifier: GPL-3.0-or-later
# Where everything goes. A module that installs but cannot be imported is the most common complaint
# about out-of-tree modules, so the prefix follows the Python in use: the active venv or conda
# environment, else the prefix of the GNU Radio that was found.
execute_process(
  COMMAND ${PYTHON_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/python_paths.py prefix
  OUTPUT_VARIABLE _default_prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _rc)
if(_rc)
  message(FATAL_ERROR "${PYTHON_EXECUTABLE} cannot be run; pass -DPYTHON_EXECUTABLE=/usr/bin/python3")
endif()
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX ${_default_prefix} CACHE PATH "Installation prefix" FORCE)
endif()

execute_process(
  COMMAND ${PYTHON_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/python_paths.py sitedir ${CMAKE_INSTALL_PREFIX}
  OUTPUT_VARIABLE _python_dir OUTPUT_STRIP_TRAILING_WHITESPACE)
set(GR_PYTHON_DIR ${_python_dir} CACHE STRING "Python package directory, relative to the prefix")
# One library folder for every prefix but a multiarch /usr keeps $ORIGIN-relative paths simple.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  include(GNUInstallDirs)
  set(DIFFUSION_LIB_DIR ${CMAKE_INSTALL_LIBDIR})
else()
  set(DIFFUSION_LIB_DIR lib)
endif()
set(DIFFUSION_DATA_DIR share/gr-diffusion)
set(DIFFUSION_GRC_DIR share/gnuradio/grc/blocks)
set(DIFFUSION_CMAKE_DIR ${DIFFUSION_LIB_DIR}/cmake/gnuradio-diffusion)

set(_py ${CMAKE_INSTALL_PREFIX}/${GR_PYTHON_DIR}/gnuradio/diffusion)
file(RELATIVE_PATH DIFFUSION_BINDING_RPATH ${_py} ${CMAKE_INSTALL_PREFIX}/${DIFFUSION_LIB_DIR})
file(RELATIVE_PATH DIFFUSION_LIB_TO_DATA
  ${CMAKE_INSTALL_PREFIX}/${DIFFUSION_LIB_DIR} ${CMAKE_INSTALL_PREFIX}/${DIFFUSION_DATA_DIR})

message(STATUS "Python:       ${PYTHON_EXECUTABLE}")
message(STATUS "Prefix:       ${CMAKE_INSTALL_PREFIX}")
message(STATUS "Package:      ${_py}")
message(STATUS "Library:      ${CMAKE_INSTALL_PREFIX}/${DIFFUSION_LIB_DIR}")
message(STATUS "GRC blocks:   ${CMAKE_INSTALL_PREFIX}/${DIFFUSION_GRC_DIR}")
