"""Batches without a rule: every image alike."""

from collections.abc import Iterator, Sequence

from trainables.data.samplers.base import BatchSampler, whole_numbers
from trainables.errors import UserError


class RandomSampler(BatchSampler):
    """The images in a new order every epoch, none twice, cut into batches of batch_size.

    labels: (n,), of which only the number counts. drop_last: the rest that does not fill a batch is left out.
    UserError: batch_size that is no whole number above 0 or larger than the data where that leaves no batch.
    """

    def __init__(self, labels: Sequence[int], batch_size: int, drop_last: bool = True, *, seed: int) -> None:
        whole_numbers("RandomSampler", batch_size=batch_size)
        if not isinstance(drop_last, bool):
            raise UserError(f"RandomSampler: drop_last must be true or false, not {drop_last!r}")
        super().__init__(seed)
        self._images, self._batch_size, self._drop_last = len(labels), batch_size, drop_last
        if not len(self):
            raise UserError(f"RandomSampler: a batch needs {batch_size} images, the data have {self._images}")

    def __len__(self) -> int:
        rest = 0 if self._drop_last else self._batch_size - 1
        return (self._images + rest) // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        order = self._generator.permutation(self._images).tolist()
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            yield order[start : start + self._batch_size]
