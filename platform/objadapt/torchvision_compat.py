"""Import torchvision beside a torch it was not built for. Import this before torchvision, open_clip or timm.

PyPI's torchvision is a CUDA build. Beside CPU torch its compiled half does not load, and its Python half then
fails on import (`operator torchvision::nms does not exist`), taking open_clip and timm with it. The Python half
only needs the schemas of two box operators; with those declared everything but box operators works, and this
project uses none. Needed in every process (Ray actors too); with a matching torchvision this is a plain import.
"""

import torch

_BOX_OPERATORS = ("nms", "qnms")
_declared: torch.library.Library | None = None  # the schemas live as long as this object

try:
    import torchvision
except RuntimeError as error:
    if "operator torchvision::nms does not exist" not in str(error):
        raise
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in _BOX_OPERATORS:
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
