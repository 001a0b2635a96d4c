"""What groups the patches of a whole video at once: segments that no single frame determines."""

from abc import abstractmethod

from torch import Tensor

from .method import Grouping


class VideoGrouping(Grouping):
    """Patches of all frames of a video -> masks; `num_slots` is the most segments that it makes.

    A segment has one number throughout the video. Numbers of one video mean nothing in another.
    """

    @abstractmethod
    def video_masks(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Masks of a video.

        Args:
            patches: float16 or float32 [T, N, J], the frozen tokens of all its frames in order.
            grid: (h, w), N = h * w.

        Returns:
            float32 [T, K, N], K = `num_slots`, that sums to 1 over K; segments that the video lacks are 0 everywhere.
        """

    def features(self, patches: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """Tokens float [T, N, d] of its own by which patches of a video may be told apart; None: it has none.

        Args: as of `video_masks`.
        """
        return None

    @property
    @abstractmethod
    def described(self) -> dict:
        """Settings that change the masks, as plain JSON values; the weights are told apart by themselves."""
