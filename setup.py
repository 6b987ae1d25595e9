"""Builds the preload shim and the manual pages; everything else is in pyproject.toml.

The shim is a plain shared library, not a Python module, and it is optional: without a C compiler
the package installs all the same, and `governor doctor` says what is missing.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from distutils.command.install_data import install_data

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The dynamic linker replaces $PLATFORM in LD_PRELOAD by one of these, and prints an error when
# there is no file of the program's own ELF class. ($LIB would depend on the distribution.)
MACHINE = platform.machine()
# haswell and xeon_phi: what glibc before 2.37 calls some x86_64 processors.
ALIASES = {"x86_64": ("haswell", "xeon_phi"), "aarch64": ()}
I386 = ("i386", "i486", "i586", "i686")

COMPILE = ["-std=gnu11", "-O2", "-g0", "-fPIC", "-fno-stack-protector"]
if MACHINE == "x86_64":
    # A vfork cannot keep a shadow stack in order; without the mark glibc does not switch it on.
    COMPILE.append("-fcf-protection=none")
# glibc before 2.34 has dlsym in libdl; as-needed leaves it out everywhere else. Few mappings make
# an exec cheaper.
LINK = ["-nostdlib", "-Wl,--as-needed", "-ldl", "-Wl,-z,noseparate-code,-z,norelro", "-s"]


def empty_i386_library() -> bytes:
    """A valid shared library for 32-bit programs that does nothing, made without a compiler."""
    header, segment, entry = "<16sHHIIIIIHHHHHH", "<8I", "<2I"
    segments = 52
    dynamic = segments + 3 * 32
    symbols = dynamic + 5 * 8
    strings = symbols + 16
    end = strings + 1
    ident = b"\x7fELF" + bytes([1, 1, 1])
    shared, i386, load, dynamic_type, gnu_stack, read_write = 3, 3, 1, 2, 0x6474E551, 6
    strtab, symtab, strsz, syment = 5, 6, 10, 11
    return b"".join(
        [
            struct.pack(header, ident, shared, i386, 1, 0, segments, 0, 0, 52, 32, 3, 0, 0, 0),
            struct.pack(segment, load, 0, 0, 0, end, end, read_write, 0x1000),
            struct.pack(segment, dynamic_type, dynamic, dynamic, dynamic, 40, 40, read_write, 4),
            struct.pack(segment, gnu_stack, 0, 0, 0, 0, 0, read_write, 16),
            *(
                struct.pack(entry, tag, value)
                for tag, value in (
                    (strtab, strings),
                    (symtab, symbols),
                    (strsz, 1),
                    (syment, 16),
                    (0, 0),
                )
            ),
            bytes(end - symbols),
        ]
    )


class BuildShim(build_ext):
    """Names the library without Python's suffix and puts it under every name of the platform."""

    def get_ext_filename(self, fullname: str) -> str:
        """Where the library lies, relative to the root of the packages."""
        return os.path.join(*fullname.split(".")) + ".so"

    def copy_extensions_to_source(self) -> None:
        """An editable install: the directory has to exist."""
        os.makedirs(os.path.join(PRELOAD, MACHINE), exist_ok=True)
        super().copy_extensions_to_source()

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        preload = os.path.join("" if self.inplace else self.build_lib, PRELOAD)
        library = os.path.join(preload, MACHINE, "shim.so")
        if not os.path.exists(library):
            return
        with open(library, "rb") as file:
            copies = dict.fromkeys(ALIASES[MACHINE], file.read())
        if MACHINE == "x86_64":
            copies |= dict.fromkeys(I386, empty_i386_library())
        for name, content in copies.items():
            os.makedirs(os.path.join(preload, name), exist_ok=True)
            with open(os.path.join(preload, name, "shim.so"), "wb") as file:
                file.write(content)


class InstallPages(install_data):
    """Makes the manual pages where they are installed to; an editable install has none."""

    def run(self) -> None:
        """Install, then write them."""
        super().run()
        # The parsers need nothing but Python, so this works where nothing else is installed.
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        from governor.cli import manual

        for name, text in manual.pages():
            path = os.path.join(self.install_dir, PAGES, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            self.outfiles.append(path)


PAGES = os.path.join("share", "man", "man1")
PRELOAD = os.path.join("workers", "preload")
shim = Extension(
    f"workers.preload.{MACHINE}.shim",
    ["workers/shim.c", "workers/shim_vfork.c"],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
    optional=True,
)

setup(
    ext_modules=[shim] if MACHINE in ALIASES else [],
    cmdclass={"build_ext": BuildShim, "install_data": InstallPages},
    # An empty list makes the directory, and the command run at all.
    data_files=[(PAGES, [])],
)
