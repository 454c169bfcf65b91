"""The kind of file that a search writes; apart, since keras-tuner is slow."""

import pathlib
from typing import Any
from unittest import mock

import tf_unilth
from tests.stress.file_kind import Promise
from tests.testing import tuned
from tf_unilth.export.quiet import silenced
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.tuner.oracles import TicketOracle


class Searches:
  """The directory of a search: a state is a trial that has ended."""

  name, last = 'search', 2
  each_alone = False
  read_errors = (tf_unilth.tuner.SearchError, DamagedError)
  write_errors: tuple[type[Exception], ...] = (OSError,)

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    made = tuned.search(folder / 'new' / 'search', max_trials=self.last)
    end = TicketOracle.end_trial

    def end_trial(oracle: Any, trial: Any) -> None:
      end(oracle, trial)
      promise(len(oracle.completed()))

    x, y = (array[:16] for array in tuned.data())
    with mock.patch.object(TicketOracle, 'end_trial', end_trial), silenced():
      made.search(x, y, 8, epochs=tuned.EPOCHS, validation_data=(x, y))

  def read(self, folder: pathlib.Path) -> int:
    made = tuned.search(folder / 'new' / 'search', max_trials=self.last)
    return len(made.oracle.completed())
