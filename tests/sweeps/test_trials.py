"""What Tune keeps of a sweep's trials, and what is told of them."""

from types import SimpleNamespace

from ray import cloudpickle

from objadapt.sweeps.trials import _Watch
from objadapt.training.display import Display


def test_what_watches_trials_can_be_stored_without_the_display():
    """Tune stores its callbacks before the first trial; a display holds a lock, which cannot be stored."""
    with Display() as show:
        watch = _Watch(None, show, 0, 4, None)  # pyright: ignore[reportArgumentType]  # not asked here
        stored = cloudpickle.loads(cloudpickle.dumps(watch))
        assert watch.show is show and stored.show is None and stored.total == 4


def test_a_line_that_stays_says_what_a_trial_reached():
    """The best is that of the sweep's direction; a trial without a value has no line."""

    class Show:
        def __init__(self):
            self.told, self.counts = [], []

        def tell(self, text):
            self.told.append(text)

        def __call__(self, *news):
            self.counts.append(news[1:3])

    show = Show()
    watch = _Watch(None, show, 0, 2, SimpleNamespace(metric="loss", mode="min"), " (toy data)")
    for value in (0.25, 0.5):
        watch.on_trial_complete(0, [], SimpleNamespace(last_result={"loss": value, "epoch": 1}, config={"K": 8}))
    assert show.told == [
        "trial 1 of 2: loss 0.25 (toy data) after 1 epochs with K=8; best of these loss 0.25",
        "trial 2 of 2: loss 0.5 (toy data) after 1 epochs with K=8; best of these loss 0.25",
    ]

    show = Show()
    space = SimpleNamespace(metric="top1", mode="max")
    watch = _Watch(None, show, 1, 4, space)  # pyright: ignore[reportArgumentType]  # not asked here
    for value, tau in ((0.25, 0.1), (0.5, 0.123456), (0.375, 0.5), (None, 1.0)):
        result = {} if value is None else {"top1": value, "epoch": 10}
        watch.on_trial_complete(0, [], SimpleNamespace(last_result=result, config={"tau": tau, "K": 8}))
    assert show.told == [
        "trial 2 of 4: top-1 25.0 % after 10 epochs with tau=0.1, K=8; best of these top-1 25.0 %",
        "trial 3 of 4: top-1 50.0 % after 10 epochs with tau=0.1235, K=8; best of these top-1 50.0 %",
        "trial 4 of 4: top-1 37.5 % after 10 epochs with tau=0.5, K=8; best of these top-1 50.0 %",
    ]
    assert show.counts == [(2, 4), (3, 4), (4, 4), (5, 4)]
