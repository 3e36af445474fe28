"""Compile a classifier for serving, by ``python -m imgserve.compile``. Only here is torch used.

A torchvision wheel built for another variant of torch, say CUDA instead of CPU, has compiled
operators that cannot be loaded. Classifiers need none of them, but ``import torchvision`` registers
shape rules for two, and fails if they are unknown. So it is first imported here, with the schemas
of these two where it needs them; calling one still fails, as it should.
"""

try:
    import torch
    import torchvision
except ImportError as exc:
    raise SystemExit(f"{exc}: run requirements/install.sh compile") from exc
except RuntimeError:  # operator torchvision::nms does not exist
    # The definitions last as long as this object.
    _schemas = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _schemas.define(_name + _schema)  # type: ignore[no-untyped-call]
    import torchvision

from imgserve.compile import architectures as _architectures  # noqa: F401  registers them

__all__ = ["torchvision"]
