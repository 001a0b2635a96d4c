"""Memory-propagated encoding and adaptive selection, the core of VideoStreaming (arXiv 2405.16009) without its language
model: `method.module=objadapt_relatives.streaming_memory`.
"""

from .method import StreamingMemory, build
from .settings import Settings

__all__ = ["Settings", "StreamingMemory", "build"]
