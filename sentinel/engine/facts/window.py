"""Samples over time, kept only for rules that read them."""

from __future__ import annotations

from collections import deque

from sentinel.model.input_limits import MOST_SAMPLES
from sentinel.model.rule import Take


class Window:
    """Samples of one signal of one entity within the last `over` seconds."""

    def __init__(self, over: float) -> None:
        self._over = over
        self._samples: deque[tuple[float, float]] = deque(maxlen=MOST_SAMPLES)

    def add(self, at: float, value: float) -> None:
        """Take a sample."""
        self._samples.append((at, value))
        self._trim(at)

    def _trim(self, at: float) -> None:
        while self._samples and self._samples[0][0] < at - self._over:
            self._samples.popleft()

    def dump(self) -> list[list[float]]:
        """Time and value of each sample, for a checkpoint."""
        return [[at, value] for at, value in self._samples]

    def held(self, at: float) -> tuple[int, float | None]:
        """The number of samples at time `at`, and the time of the newest."""
        self._trim(at)
        return len(self._samples), self._samples[-1][0] if self._samples else None

    def take(self, how: Take, at: float) -> float | None:
        """The reduced value at time `at`; None if there are too few samples (two for ``delta`` and ``rate``)."""
        self._trim(at)
        samples = self._samples
        if how == "count":
            return float(len(samples))
        if not samples:
            return None
        values = [v for _, v in samples]
        if how == "mean":
            return sum(values) / len(values)
        if how == "min":
            return min(values)
        if how == "max":
            return max(values)
        if how == "last":
            return values[-1]
        if len(samples) < 2:
            return None
        delta = values[-1] - values[0]
        if how == "delta":
            return delta
        elapsed = samples[-1][0] - samples[0][0]
        return delta / elapsed if elapsed > 0 else None
