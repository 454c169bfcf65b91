"""RunBackup: the state of a run beside the weights of a BackupAndRestore."""

import hashlib
import pathlib
import shutil
from typing import Any

import numpy as np

from tf_unilth.engines.keras3 import backend_values
from tf_unilth.engines.keras3.pruning_plan import PruningPlan
from tf_unilth.engines.patches import Patches
from tf_unilth.files.array_container import Container
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.files.format_version import VersionError
from tf_unilth.user_warning import warn_user

_CONTAINER = Container('backup of a pruning run', 1)
_NAME, _PREVIOUS = 'pruning_run.state', 'pruning_run.state.bkp'


class RunBackup:
  """Makes a BackupAndRestore of Keras 3 also save the state of a run.

  Keras saves weights and optimizer in one file. The masks and the state of the
  run are in a file beside it, which names the weights file by its SHA-256, so
  that they are never restored with other weights.

  Args:
    plan: the plan of the model.
    callback: the BackupAndRestore callback.
  """

  def __init__(self, plan: PruningPlan, callback: Any):
    self._plan, self._callback = plan, callback
    self._patches = Patches()
    self._save_own = callback._save_model
    self._load_own = callback._load_model
    self._folder = pathlib.Path(callback.backup_dir)

  def attach(self) -> None:
    """Puts the patches on the callback."""
    for name, value in ('_save_model', self._save), ('_load_model', self._load):
      self._patches.set('BackupAndRestore', self._callback, name, value)

  def detach(self) -> None:
    """Takes the patches back."""
    self._patches.restore()

  def _save(self) -> None:
    self._save_own()
    path, plan = self._folder / _NAME, self._plan
    backend_values.sync(plan.model)
    if self._callback.double_checkpoint and path.exists():
      shutil.copyfile(path, self._folder / _PREVIOUS)
    arrays = {'state': np.frombuffer(plan.state.to_bytes(), np.uint8)}
    for kind, variables in self._variables().items():
      for number, variable in enumerate(variables):
        arrays[f'{kind} {number}'] = backend_values.read(variable)
    _CONTAINER.write(path, {'weights': self._digest()}, arrays)

  def _variables(self) -> dict[str, list[Any]]:
    variables = self._plan.variables
    return {'mask': variables.masks, 'candidates': variables.candidates}

  def _digest(self) -> str:
    """Returns the SHA-256 of the weights file."""
    content = pathlib.Path(self._callback._weights_path).read_bytes()
    return hashlib.sha256(content).hexdigest()

  def _load(self) -> None:
    self._load_own()
    if not pathlib.Path(self._callback._weights_path).exists():
      return
    digest = self._digest()
    if not any(self._restore(n, digest) for n in (_NAME, _PREVIOUS)):
      warn_user(
        f'backup_dir {str(self._folder)!r} of BackupAndRestore has no state of '
        'the run with these weights: a new run begins from their zeros.',
      )

  def _restore(self, name: str, digest: str) -> bool:
    """Restores a state; returns whether there is one with these weights."""
    try:
      description, arrays = _CONTAINER.read(self._folder / name)
    except VersionError as error:
      raise CheckpointError(f'{str(self._folder / name)!r}: {error}') from None
    except (FileNotFoundError, DamagedError):
      return False
    variables = self._variables()
    shapes = {
      f'{kind} {number}': tuple(variable.shape)
      for kind, found in variables.items()
      for number, variable in enumerate(found)
    }
    saved = {n: array.shape for n, array in arrays.items() if n != 'state'}
    if description.get('weights') != digest or saved != shapes:
      return False
    for number, variable in enumerate(variables['candidates']):
      variable.assign(arrays[f'candidates {number}'])
    self._plan.set_masks(
      [arrays[f'mask {n}'] for n in range(len(variables['mask']))]
    )
    self._plan.state.restore(arrays['state'].tobytes())
    return True
