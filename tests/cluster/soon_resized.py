"""jobs/NAME.py where Ray Train looks for nodes that joined every 5 s, in place of every 60: soon_resized.py NAME ..."""

import functools
import runpy
import sys
from pathlib import Path

import ray.train

JOBS = Path(__file__).resolve().parents[2] / "jobs"

if __name__ == "__main__":
    ray.train.ScalingConfig = functools.partial(ray.train.ScalingConfig, elastic_resize_monitor_interval_s=5)
    sys.argv = [str(JOBS / f"{sys.argv[1]}.py"), *sys.argv[2:]]
    sys.path.insert(0, str(JOBS))  # as python does for a script
    runpy.run_path(sys.argv[0], run_name="__main__")
