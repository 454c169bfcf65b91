"""A directory of checkpoints: reads the newest intact one, keeps the newest."""

import errno
import os
import pathlib
import re
from collections.abc import Iterator

from tf_unilth.files import checksummed_file
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.files.format_version import VersionError
from tf_unilth.resume import checkpoint_file
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.user_warning import warn_user

_NAME = re.compile(r'epoch-(\d+)-step-(\d+)\.checkpoint')


class CheckpointDirectory:
  """The checkpoints of one run, each a file named by its epoch and step.

  Args:
    path: the directory, which must exist before `write`.
    keep: the number of newest checkpoints to keep.
  """

  def __init__(self, path: str | os.PathLike[str], keep: int):
    self.path = pathlib.Path(path)
    self._keep = keep

  def newest(self) -> Checkpoint | None:
    """Returns the newest intact checkpoint, `None` if there are no checkpoints.

    A warning names damaged checkpoints that are newer.

    Raises:
      CheckpointError: there are checkpoints, but all are damaged; or a newer
        one than the newest that is intact has another format version.
    """
    damaged = []
    for _, path in self._files():
      try:
        checkpoint = checkpoint_file.read(path)
      except FileNotFoundError:
        continue  # Another process has just removed it.
      except VersionError as error:
        # To use an older one would lose what another version has trained.
        raise CheckpointError(
          f'checkpoint {str(path)!r}: {error} Or choose another directory.'
        ) from None
      except DamagedError as error:
        damaged.append(f'{path}: {error}')
        continue
      for line in damaged:
        warn_user(
          f'checkpoint {line} The one before it is used: {path.name}.',
        )
      return checkpoint
    if damaged:
      raise CheckpointError(
        f'no checkpoint in directory {str(self.path)!r} is intact: remove them '
        f'to start the run again. {" ".join(damaged)}'
      )
    return None

  def write(self, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, and removes older ones that are not kept.

    Args:
      checkpoint: the checkpoint.

    Raises:
      OSError: it cannot be written; earlier checkpoints are intact.
    """
    position = checkpoint.epoch, checkpoint.step
    name = 'epoch-{:06d}-step-{:09d}.checkpoint'.format(*position)
    try:
      checkpoint_file.write(self.path / name, checkpoint)
    except OSError as error:
      raise OSError(error.errno, self._failure(error, name)) from None
    older = [path for at, path in self._files() if at <= position]
    for path in older[self._keep :]:
      path.unlink(missing_ok=True)

  def _failure(self, error: OSError, name: str) -> str:
    no_room = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    why = 'there is no room' if error.errno in no_room else error.strerror
    last = next((path.name for _, path in self._files()), None)
    what = f'{last} before it is intact' if last else 'there is none before it'
    return (
      f'checkpoint {str(self.path / name)!r} cannot be written: {why}; {what}, '
      'and the run can be resumed from there.'
    )

  def remove_unfinished(self) -> None:
    """Removes incomplete files of processes that were killed."""
    checksummed_file.remove_unfinished(self.path)

  def _files(self) -> Iterator[tuple[tuple[int, int], pathlib.Path]]:
    """Yields epoch and step, and the path, the newest first."""
    if not self.path.is_dir():
      return
    found = []
    for path in self.path.iterdir():
      match = _NAME.fullmatch(path.name)
      if match:
        found.append(((int(match[1]), int(match[2])), path))
    yield from sorted(found, reverse=True)
