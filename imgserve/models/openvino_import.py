"""OpenVINO without its telemetry, and without its converter until that is asked for.

openvino reports each conversion to its makers unless told otherwise. It does without the package
that reports where that cannot be imported, so its import is barred here, before openvino's.
Likewise it does without its converter, a fifth of its import time, which serving never needs: that
may be imported afterwards, as ``openvino.tools.ovc``.
Import openvino through this module.
"""

import sys

# None bars an import.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]

import openvino  # noqa: E402  the bars come first

del sys.modules["openvino.tools.ovc"]

__all__ = ["openvino"]
