# SPDX-License-Identifier: GPL-3.0-or-later
"""SoapySDR's C interface by ctypes: what any client of the virtual radio calls."""
import ctypes as c
import ctypes.util

import numpy as np

TX, RX = 0, 1
END_BURST, HAS_TIME = 1 << 1, 1 << 2
TIMEOUT, STREAM_ERROR, OVERFLOW, NOT_SUPPORTED, TIME_ERROR, UNDERFLOW = -1, -2, -4, -5, -6, -7
DTYPES = {"CF32": np.float32, "CS16": np.int16, "CS8": np.int8, "CU8": np.uint8}

_lib = c.CDLL(ctypes.util.find_library("SoapySDR") or "libSoapySDR.so.0.8")
_pointer, _size, _long, _ll, _string, _double = c.c_void_p, c.c_size_t, c.c_long, c.c_longlong, c.c_char_p, c.c_double
for _name, _result, _arguments in (
        ("makeStrArgs", _pointer, [_string]), ("unmake", c.c_int, [_pointer]),
        ("lastStatus", c.c_int, []), ("lastError", _string, []),
        ("setupStream", _pointer, [_pointer, c.c_int, _string, _pointer, _size, _pointer]),
        ("closeStream", c.c_int, [_pointer, _pointer]),
        ("activateStream", c.c_int, [_pointer, _pointer, c.c_int, _ll, _size]),
        ("deactivateStream", c.c_int, [_pointer, _pointer, c.c_int, _ll]),
        ("readStream", c.c_int, [_pointer, _pointer, _pointer, _size, c.POINTER(c.c_int), c.POINTER(_ll),
                                 _long]),
        ("writeStream", c.c_int, [_pointer, _pointer, _pointer, _size, c.POINTER(c.c_int), _ll, _long]),
        ("readStreamStatus", c.c_int,
         [_pointer, _pointer, c.POINTER(_size), c.POINTER(c.c_int), c.POINTER(_ll), _long]),
        ("setSampleRate", c.c_int, [_pointer, c.c_int, _size, _double]),
        ("setFrequency", c.c_int, [_pointer, c.c_int, _size, _double, _pointer]),
        ("setGain", c.c_int, [_pointer, c.c_int, _size, _double]),
        ("setGainElement", c.c_int, [_pointer, c.c_int, _size, _string, _double]),
        ("getGainElement", _double, [_pointer, c.c_int, _size, _string]),
        ("getGain", _double, [_pointer, c.c_int, _size]),
        ("setGainMode", c.c_int, [_pointer, c.c_int, _size, c.c_bool]),
        ("setDCOffsetMode", c.c_int, [_pointer, c.c_int, _size, c.c_bool]),
        ("getHardwareTime", _ll, [_pointer, _string]), ("setHardwareTime", c.c_int, [_pointer, _ll, _string]),
        ("writeSetting", c.c_int, [_pointer, _string, _string]),
        ("readSetting", _pointer, [_pointer, _string]),
        ("readSensor", _pointer, [_pointer, _string])):
    _f = getattr(_lib, "SoapySDRDevice_" + _name)
    _f.restype, _f.argtypes = _result, _arguments
_lib.SoapySDR_free.argtypes = [_pointer]
_libc = c.CDLL(None)
_libc.free.argtypes = [_pointer]


class SoapyError(Exception):
    pass


class Radio:
    """A device with at most one stream a direction."""

    def __init__(self, **args):
        text = ",".join(f"{k}={v}" for k, v in {"driver": "loopback", **args}.items())
        self.handle = _lib.SoapySDRDevice_makeStrArgs(text.encode())
        if not self.handle:
            raise SoapyError(_lib.SoapySDRDevice_lastError().decode())
        self.streams, self.formats = {}, {}

    def close(self):
        for stream in self.streams.values():
            _lib.SoapySDRDevice_closeStream(self.handle, stream)
        self.streams = {}
        if self.handle:
            _lib.SoapySDRDevice_unmake(self.handle)
        self.handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, name, *arguments):
        result = getattr(_lib, "SoapySDRDevice_" + name)(self.handle, *arguments)
        if _lib.SoapySDRDevice_lastStatus() != 0:
            raise SoapyError(_lib.SoapySDRDevice_lastError().decode())
        return result

    def _text(self, name, key):
        pointer = self._call(name, key.encode())
        text = c.string_at(pointer).decode()
        _libc.free(pointer)
        return text

    def tune(self, direction, rate=None, frequency=None, gain=None, agc=None, remove_dc=None):
        if rate is not None:
            self._call("setSampleRate", direction, 0, rate)
        if frequency is not None:
            self._call("setFrequency", direction, 0, frequency, None)
        if gain is not None:
            self._call("setGain", direction, 0, gain)
        if agc is not None:
            self._call("setGainMode", direction, 0, agc)
        if remove_dc is not None:
            self._call("setDCOffsetMode", direction, 0, remove_dc)
        return self

    def write_setting(self, key, value):
        self._call("writeSetting", key.encode(), str(value).encode())

    def read_setting(self, key):
        return self._text("readSetting", key)

    def sensor(self, key):
        return self._text("readSensor", key)

    def gain(self, direction):
        return self._call("getGain", direction, 0)

    def set_stage(self, direction, name, value):
        self._call("setGainElement", direction, 0, name.encode(), value)

    def stage(self, direction, name):
        return self._call("getGainElement", direction, 0, name.encode())

    def time(self):
        return self._call("getHardwareTime", b"")

    def set_time(self, ns):
        self._call("setHardwareTime", ns, b"")

    def open(self, direction, form="CF32"):
        self.streams[direction] = self._call("setupStream", direction, form.encode(), None, 0, None)
        self.formats[direction] = DTYPES[form]
        return self

    def start(self, direction, time_ns=None, count=0):
        flags = 0 if time_ns is None else HAS_TIME
        return self._call("activateStream", self.streams[direction], flags, time_ns or 0, count)

    def stop(self, direction):
        return self._call("deactivateStream", self.streams[direction], 0, 0)

    def read(self, n, timeout_us=200000):
        """(samples as rails (k, 2) of the stream's type or None, code, flags, time_ns)"""
        buffer = np.zeros((n, 2), self.formats[RX])
        pointers = (c.c_void_p * 1)(buffer.ctypes.data)
        flags, time_ns = c.c_int(0), _ll(0)
        code = _lib.SoapySDRDevice_readStream(self.handle, self.streams[RX], pointers, n, c.byref(flags),
                                              c.byref(time_ns), timeout_us)
        return (buffer[:code] if code > 0 else None), code, flags.value, time_ns.value

    def write(self, x, flags=0, time_ns=0, timeout_us=200000):
        """code of one call; x: rails (k, 2) of the stream's type, or complex for CF32"""
        if np.iscomplexobj(x):
            x = np.stack([x.real, x.imag], 1)
        buffer = np.ascontiguousarray(x, self.formats[TX])
        pointers = (c.c_void_p * 1)(buffer.ctypes.data)
        return _lib.SoapySDRDevice_writeStream(self.handle, self.streams[TX], pointers, len(buffer),
                                               c.byref(c.c_int(flags)), time_ns, timeout_us)

    def write_all(self, x, flags=0, time_ns=0, timeout_us=200000):
        done = 0
        while done < len(x):
            code = self.write(x[done:], flags if done == 0 else flags & ~HAS_TIME, time_ns, timeout_us)
            if code < 0:
                return code
            done += code
        return done

    def read_all(self, n, timeout_us=500000):
        """Complex samples (CF32), the time of the first; whatever comes is kept until n are there."""
        parts, start = [], None
        while sum(map(len, parts)) < n:
            rails, code, _, time_ns = self.read(min(4096, n - sum(map(len, parts))), timeout_us)
            if code < 0:
                raise SoapyError(f"readStream: {code}")
            start = time_ns if start is None else start
            parts.append(rails)
        rails = np.concatenate(parts)
        return rails[:, 0] + 1j * rails[:, 1], start

    def status(self, timeout_us=100000):
        mask, flags, time_ns = _size(0), c.c_int(0), _ll(0)
        code = _lib.SoapySDRDevice_readStreamStatus(self.handle, self.streams[TX], c.byref(mask),
                                                    c.byref(flags),
                                                    c.byref(time_ns), timeout_us)
        return code, flags.value, time_ns.value
