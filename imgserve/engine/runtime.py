"""OpenVINO without its telemetry.

openvino reports each conversion to its makers unless told otherwise. It does without the package
that reports where that cannot be imported, so its import is barred here, before openvino's.
Import openvino through this module.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None bars an import

import openvino  # noqa: E402  the bar comes first

__all__ = ["openvino"]
