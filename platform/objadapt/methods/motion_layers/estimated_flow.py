"""Flow between real frames, estimated from their pixels: dense inverse search (Kroeger et al., ECCV 2016), by OpenCV.

torchvision's RAFT needs weights from the network. Of OpenCV's two estimators without weights, DIS and Farneback's, DIS
comes nearer to the exact flow of Object Actions (README.md).
"""

import numpy as np
import torch
from torch import Tensor

FINEST = 0  # scale: that of the picture itself, since toy pictures are small


def estimated_flow(first: Tensor, second: Tensor) -> Tensor:
    """Flow of each first frame to the second.

    Args:
        first, second: uint8 [b, S, S, 3], RGB, on any device.

    Returns:
        float32 [b, S, S, 2], (x, y) in pixels, on the CPU; the same on every machine, since it takes one thread.
    """
    import cv2  # of training alone, which is why nobody else waits for it

    cv2.setNumThreads(1)  # the search goes stripe by stripe, a stripe a thread
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(FINEST)
    grey = [
        [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.ascontiguousarray(frames.cpu().numpy())]
        for frames in (first, second)
    ]
    pairs = zip(*grey, strict=True)
    flows = [search.calc(one, other, None) for one, other in pairs]  # pyright: ignore  # cv2's stub: None is no flow
    return torch.from_numpy(np.stack(flows))


def in_patches(flow: Tensor, patch: int) -> Tensor:
    """Flow [b, S, S, 2] in pixels -> float32 [b, N, 2] in patches, the mean of each patch, row by row."""
    pooled = torch.nn.functional.avg_pool2d(flow.float().permute(0, 3, 1, 2), patch)  # [b, 2, h, w]
    return pooled.flatten(2).transpose(1, 2) / patch
