"""Whether kernels for a GPU can be compiled here: Triton wants a C compiler and Python's headers when it first runs."""

import warnings
from functools import cache


@cache
def works() -> bool:
    """Tried once a process, with a kernel that does nothing. Where it fails, a warning says why: plain forms serve."""
    try:
        import triton

        @triton.jit
        def nothing():  # type: ignore[no-untyped-def]
            pass

        nothing[(1,)]()
    except ImportError:
        return False  # there is none for this system
    except Exception as error:  # a compiler's, a driver's, a folder's
        first = next(iter(str(error).splitlines()), type(error).__name__)
        warnings.warn(f"GPU kernels cannot be compiled here, slower ones serve: {first}", stacklevel=2)
        return False
    return True
