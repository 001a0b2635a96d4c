"""What Tune keeps of a sweep's trials."""

from ray import cloudpickle

from objadapt.sweeps.trials import _Watch
from objadapt.training.display import Display


def test_what_watches_trials_can_be_stored_without_the_display():
    """Tune stores its callbacks before the first trial; a display holds a lock, which cannot be stored."""
    with Display() as show:
        watch = _Watch(None, show, 0, 4, None)  # pyright: ignore[reportArgumentType]  # not asked here
        stored = cloudpickle.loads(cloudpickle.dumps(watch))
        assert watch.show is show and stored.show is None and stored.total == 4
