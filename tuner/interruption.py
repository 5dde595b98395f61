"""The end of a launch before its trials': Ctrl-C, SIGTERM, or the driver's own decision."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
    """Remembered until the recorder is between two events: then the launch ends at once.

    Tune's own way waits for the epochs that are running, for as long as they take; the checkpoints are there already.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals reach the main thread alone; elsewhere the caller's handlers stay."""
        main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
        before = {number: signal.signal(number, self._heard) for number in numbers}
        try:
            yield
        except KeyboardInterrupt:
            if not self.asked:
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ask(self) -> None:
        self.asked = True

    def act(self) -> None:
        """Raises KeyboardInterrupt where it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _heard(self, number: int, frame: object) -> None:
        self.ask()
