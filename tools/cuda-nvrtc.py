"""python3 tools/cuda-nvrtc.py WHEELS SOURCE OUT ARCHITECTURES: a fat binary without nvcc.

The wheels of CUDA 12 hold no nvcc, but the library that compiles at run time (NVRTC) and the one
that binds binaries into one (nvFatbin); neither needs a GPU. ARCHITECTURES is a list such as
80,90,100: a binary of each, and PTX of the first.
"""

import ctypes
import sys
from pathlib import Path

# What NVRTC does not have of a host's headers.
HEADERS = {
    b"cstddef": b"",
    b"cstdint": b"""
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long uintptr_t;
#define INFINITY __int_as_float(0x7f800000)
""",
}


def library(wheels: Path, pattern: str) -> ctypes.CDLL:
    found = sorted((wheels / "nvidia").glob(f"*/lib/{pattern}"))
    if not found:
        raise SystemExit(f"there is no {pattern} in {wheels}")
    return ctypes.CDLL(str(found[0]))


def texts(values: list[bytes]) -> ctypes.Array:
    return (ctypes.c_char_p * len(values))(*values)


class Compiler:
    """NVRTC, with the headers of CUDA's wheels."""

    def __init__(self, wheels: Path) -> None:
        self.library = library(wheels, "libnvrtc.so.12")
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.includes = sorted((wheels / "nvidia").glob("*/include"))

    def check(self, status: int, log: str = "") -> None:
        if status:
            raise SystemExit(f"{log}{self.library.nvrtcGetErrorString(status).decode()}")

    def compile(self, source: Path, target: str, result: str) -> bytes:
        program = ctypes.c_void_p()
        names, contents = texts(list(HEADERS)), texts(list(HEADERS.values()))
        text, name = source.read_bytes(), source.name.encode()
        created = self.library.nvrtcCreateProgram(
            ctypes.byref(program), text, name, len(HEADERS), contents, names
        )
        self.check(created)
        folders = [source.parent, *self.includes]
        options = ["-std=c++17", f"-arch={target}", *(f"-I{folder}" for folder in folders)]
        flags = texts([option.encode() for option in options])
        compiled = self.library.nvrtcCompileProgram(program, len(options), flags)
        log = self.read(program, "ProgramLog").rstrip(b"\0").decode()
        self.check(compiled, log)
        sys.stderr.write(log)
        return self.read(program, result)

    def read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self.check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        data = ctypes.create_string_buffer(size.value)
        self.check(getattr(self.library, f"nvrtcGet{what}")(program, data))
        return data.raw


def bind(wheels: Path, parts: list[tuple[str, str, bytes]]) -> bytes:
    """One fat binary of (kind, architecture, bytes)."""
    fatbin = library(wheels, "libnvfatbin.so.12")
    fatbin.nvFatbinGetErrorString.restype = ctypes.c_char_p

    def check(status: int) -> None:
        if status:
            raise SystemExit(fatbin.nvFatbinGetErrorString(status).decode())

    handle = ctypes.c_void_p()
    check(fatbin.nvFatbinCreate(ctypes.byref(handle), texts([b"-64"]), ctypes.c_size_t(1)))
    for kind, architecture, data in parts:
        given = [handle, data, ctypes.c_size_t(len(data)), architecture.encode(), None]
        if kind == "PTX":
            given.append(None)
        check(getattr(fatbin, f"nvFatbinAdd{kind}")(*given))
    size = ctypes.c_size_t()
    check(fatbin.nvFatbinSize(handle, ctypes.byref(size)))
    whole = ctypes.create_string_buffer(size.value)
    check(fatbin.nvFatbinGet(handle, whole))
    return whole.raw


def main(wheels: str, source: str, out: str, architectures: str) -> None:
    compiler = Compiler(Path(wheels))
    numbers = architectures.split(",")
    parts = [
        ("Cubin", number, compiler.compile(Path(source), f"sm_{number}", "CUBIN"))
        for number in numbers
    ]
    ptx = compiler.compile(Path(source), f"compute_{numbers[0]}", "PTX")
    parts.append(("PTX", numbers[0], ptx))
    Path(out).write_bytes(bind(Path(wheels), parts))


if __name__ == "__main__":
    main(*sys.argv[1:])
