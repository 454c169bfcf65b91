"""The directory of a search: its settings, state, trials and lock."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from tf_unilth.files import checksummed_json, synchronization
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.files.format_version import VersionError
from tf_unilth.resume import run_description
from tf_unilth.tuner.errors import SearchError
from tf_unilth.tuner.oracles import STATE_FILE, TicketOracle


class SearchDirectory:
  """The directory of a search, created by the first write.

  Args:
    path: absolute path.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    self._settings = path / 'search.json'
    self._state = path / STATE_FILE
    # Modification time of the state that the oracle has, in nanoseconds.
    self._loaded_mtime: int | None = None

  @property
  def has_settings(self) -> bool:
    """Whether a `TicketTuner` has started a search here."""
    return self._settings.exists()

  @property
  def has_state(self) -> bool:
    """Whether an oracle, possibly keras-tuner's own, has saved its state."""
    return self._state.exists()

  def trial(self, trial_id: str) -> pathlib.Path:
    """Returns the directory of a trial."""
    return self.path / f'trial_{trial_id}'

  def write_settings(self, settings: dict[str, Any]) -> None:
    """Writes the settings of the search."""
    checksummed_json.write(self._settings, settings)

  def check_settings(self, settings: Mapping[str, Any]) -> None:
    """Compares settings with those of the search in the directory.

    Args:
      settings: of the new search; `epochs` is compared only if present.

    Raises:
      SearchError: they differ, or are of a newer version.
      DamagedError: the file is damaged.
    """
    try:
      saved = checksummed_json.read(self._settings)
    except VersionError as error:
      raise SearchError(
        f'directory {str(self.path)!r} cannot be used: {self._settings.name}: '
        f'{error}'
      ) from None
    except DamagedError as error:
      raise DamagedError(
        f'{str(self._settings)!r} is damaged: {error}'
      ) from None
    if 'epochs' not in settings:
      saved.pop('epochs', None)
    differences = list(run_description.differences(saved, settings))
    if differences:
      raise SearchError(
        f'directory {str(self.path)!r} has another search: '
        + '; '.join(differences)
        + '. Use the same settings, or another directory.'
      )

  def reload(self, oracle: TicketOracle) -> None:
    """Loads the saved state into the oracle, unless it is already loaded."""
    if not self._state.exists():
      return
    mtime = self._state.stat().st_mtime_ns
    if mtime != self._loaded_mtime:
      oracle.reload()
      self._loaded_mtime = mtime

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Locks the directory, which is created if needed.

    Raises:
      DirectoryInUseError: another process has the lock.
    """
    synchronization.make_folder(self.path)
    lock = DirectoryLock(self.path)
    lock.acquire()
    try:
      yield
    finally:
      lock.release()
