"""Ctrl-C and SIGTERM during a sweep."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
    """Ctrl-C and SIGTERM, remembered until the recorder is between two events: then the sweep ends at once.

    Tune's own way waits for the epochs that are running, for as long as they take; the checkpoints are there already.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals reach the main thread alone; elsewhere the caller's handlers stay."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except KeyboardInterrupt:
            assert self.asked, "nobody else interrupts"
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def act(self) -> None:
        """Raises KeyboardInterrupt where it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
