"""Whether there is a graphics processor to compute on, told without importing torch."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_DRIVER = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


@cache
def at_hand() -> bool:
    """Whether NVIDIA's driver sees a device, and the torch that is installed could use it."""
    try:
        if "+cpu" in version("torch"):
            return False
        driver = ctypes.CDLL(_DRIVER[sys.platform])
        count = ctypes.c_int()
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (KeyError, OSError, AttributeError, PackageNotFoundError):
        return False
    return found and count.value > 0
