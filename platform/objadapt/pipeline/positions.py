"""The head of the stream: positions of the schedule, a block a task.

`ray.data.range` asks for a whole CPU a task, which two workers and an encoder on 2 CPUs do not leave: the stream would
wait for ever. Here a task asks for what a decode task asks for.
"""

from collections.abc import Sequence

import pyarrow as pa
import ray
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask


class _Positions(Datasource):
    def __init__(self, blocks: Sequence[tuple[int, int]]):
        self.blocks = blocks

    def estimate_inmemory_data_size(self) -> int:
        return 8 * sum(size for _, size in self.blocks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context=None
    ) -> list[ReadTask]:
        schema = pa.schema([("id", pa.int64())])
        return [
            ReadTask(
                _block(start, size),
                BlockMetadata(num_rows=size, size_bytes=8 * size, input_files=None, exec_stats=None),
                schema=schema,
                per_task_row_limit=per_task_row_limit,
            )
            for start, size in self.blocks
        ]


def _block(start: int, size: int):
    return lambda: [pa.table({"id": pa.array(range(start, start + size), pa.int64())})]


def positions(blocks: Sequence[tuple[int, int]], task: dict) -> ray.data.Dataset:
    """Column `id`: the positions of a block (its first, how many) a task, in the order of `blocks`.

    `task` are the options of a decode task. With the very same ones Ray Data fuses the two into one operator; as an
    operator of its own this one would be granted half of the CPUs.
    """
    options = {"ray_remote_args": {"max_retries": task["max_retries"]}, "num_cpus": task["num_cpus"]}
    return ray.data.read_datasource(_Positions(blocks), override_num_blocks=len(blocks), **options)
