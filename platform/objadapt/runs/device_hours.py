"""What a run held while it trained: GPU hours, or core hours where no GPU was there; so that a table says what each
row costs.
"""

import torch

from ..plan import Plan


def device_hours(plan: Plan, seconds: float) -> dict[str, float | str]:
    """Hours times what was held: the training workers (of a range, the most), and the encoders and one decode task
    where it streamed.

    Features from a cache are not in it, since all that read them share that cost. A run that holds features by itself
    encodes them at its workers' expense.
    """
    stream = plan.placed
    streamed = not (stream.cache or stream.hold)
    workers = 1 if stream.num_workers == 0 else stream.worker_range[1]
    encoders = stream.number_of_encoders if streamed and not plan.takes_frames else 0
    gpus = workers * stream.gpus_of_trainer + encoders * stream.gpus_of_encoder
    trained = workers * stream.trainer_cpus if stream.num_workers else torch.get_num_threads()  # 0: in this process
    cores = trained + encoders * stream.encoder_cpus + streamed * stream.decode_cpus
    number, unit = (gpus, "GPU") if gpus else (cores, "core")
    said = f"{number:g} {unit}{'s' * (number != 1)}"
    return {"device_hours": round(number * seconds / 3600, 4), "devices": said}
