"""Writes and reads the file of a ticket.

It is a safetensors file (see `files/array_container.py`) with these arrays:

    masks/NAME            one bit per weight, the first in the highest bit, 1
                          for kept, padded to whole bytes with 0; uint8
    rewind_weights/NAME   the value of a weight, if there are rewind weights

The description has the shapes of the masks, method, seed and provenance. Names
are never used as paths. Equal tickets give equal bytes. Without this library a
mask is read by

    packed = safetensors.numpy.load_file(path)['masks/dense']
    mask = np.unpackbits(packed, count=math.prod(shape)).reshape(shape)
"""

import math
import os
from typing import Any

import numpy as np

from tf_unilth.files import (
  array_container,
  checksummed_file,
  output_paths,
  synchronization,
)
from tf_unilth.files.array_container import DTYPES
from tf_unilth.files.checksummed_file import DamagedError, require
from tf_unilth.files.format_version import VersionError
from tf_unilth.tickets import ticket_file_1
from tf_unilth.tickets.ticket_data import TicketData

_CONTAINER = array_container.Container('ticket', 2)
_MASKS, _WEIGHTS = 'masks/', 'rewind_weights/'


class TicketFileError(DamagedError):
  """A file is not a ticket, is incomplete or corrupted, or of a newer version.

  Tickets are not signed: a file that was forged on purpose is not detected.

  >>> path = tempfile.mkdtemp() + '/short.ticket'
  >>> _ = open(path, 'wb').write(b'half')
  >>> try:
  ...   Ticket.load(path)
  ... except TicketFileError as error:
  ...   print(str(error).partition('short.ticket')[2])
  ' is not an intact ticket: it has 4 bytes, which is too short.
  """


def size(contents: TicketData) -> int:
  """Returns the size of the file in bytes, without writing it.

  Args:
    contents: the contents of the file.
  """
  return _CONTAINER.size(_description(contents), _arrays(contents))


def write(
  path: str | os.PathLike[str], contents: TicketData, overwrite: bool
) -> None:
  """Writes a temporary file beside `path`, flushes it and renames it.

  Args:
    path: the file to write; missing folders are created.
    contents: the contents of the file.
    overwrite: whether an existing file is replaced.

  Raises:
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.
    ValueError: there are too many names for a header.
  """
  target = output_paths.check_new_file('path', path, overwrite)
  description, arrays = _description(contents), _arrays(contents)
  with output_paths.write_errors('path', target):
    synchronization.make_folder(target.parent)
    _CONTAINER.write(target, description, arrays)


def read(path: str | os.PathLike[str]) -> TicketData:
  """Reads a file that `write` wrote, also that of 0.1.0, and checks all of it.

  Args:
    path: the file.

  Raises:
    TicketFileError: it is not a ticket, or is incomplete or corrupted.
    OSError: it cannot be read.
  """
  source = output_paths.check_path('path', path)
  try:
    if checksummed_file.begins_with(source, ticket_file_1.MAGIC):
      return ticket_file_1.read(source)
    return _parse(*_CONTAINER.read(source))
  except VersionError as error:
    raise TicketFileError(
      f'path {str(source)!r} is a ticket that cannot be read: {error}'
    ) from None
  except DamagedError as error:
    raise TicketFileError(
      f'path {str(source)!r} is not an intact ticket: {error}'
    ) from None
  except OSError as error:
    raise OSError(
      error.errno, f'path {str(source)!r} cannot be read: {error.strerror}'
    ) from None


def is_ticket(begin: bytes) -> bool:
  """Returns whether the first bytes of a file may be those of a ticket.

  Args:
    begin: the first 40 bytes, or all if there are fewer.
  """
  return begin.startswith(
    ticket_file_1.MAGIC
  ) or array_container.starts_as_container(begin)


def check_array(name: str, array: np.ndarray) -> None:
  """Checks that a file can hold a mask or a weight.

  Args:
    name: its name.
    array: its value.

  Raises:
    ValueError: the dtype is not supported, or the name is no Unicode text.
  """
  try:
    name.encode()
  except UnicodeEncodeError:
    raise ValueError(
      f'weight {name!r} has a name that UTF-8 cannot encode, which a ticket '
      'cannot store.'
    ) from None
  if array.dtype.name not in DTYPES:
    raise ValueError(
      f'weight {name!r} is of dtype {array.dtype.name}, which a ticket cannot '
      f'store: it must be one of {", ".join(DTYPES)}.'
    )


def _arrays(contents: TicketData) -> dict[str, np.ndarray]:
  arrays = {
    _MASKS + name: np.packbits(mask) for name, mask in contents.masks.items()
  }
  weights = contents.rewind_weights or {}
  return arrays | {_WEIGHTS + name: array for name, array in weights.items()}


def _description(contents: TicketData) -> dict[str, Any]:
  return {
    'mask_shapes': {name: mask.shape for name, mask in contents.masks.items()},
    'method': contents.method,
    'seed': contents.seed,
    'provenance': contents.provenance,
  }


_FIELDS: dict[str, tuple[Any, str]] = {
  'mask_shapes': (dict, 'an object'),
  'method': (str | None, 'a string or null'),
  'seed': (int | None, 'a whole number or null'),
  'provenance': (dict, 'an object'),
}


def _parse(
  description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> TicketData:
  checksummed_file.check_fields(description, _FIELDS, 'its description')
  seed = description['seed']
  require(seed is None or seed >= 0, 'its seed must be at least 0.')
  packed = _take(arrays, _MASKS)
  weights = _take(arrays, _WEIGHTS)
  unknown = next(iter(arrays), None)
  require(unknown is None, f'a ticket has no array {unknown!r}.')
  shapes = description['mask_shapes']
  require(bool(packed), 'it has no masks.')
  require(packed.keys() == shapes.keys(), 'its masks are not those it names.')
  for name, array in weights.items():
    require(array.size > 0, f'weight {name!r} has an invalid shape.')
  return TicketData(
    {name: _unpack(name, bits, shapes[name]) for name, bits in packed.items()},
    weights or None,
    description['method'],
    seed,
    description['provenance'],
  )


def _take(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """Removes the arrays with a prefix and returns them by the rest of a name."""
  names = [name for name in arrays if name.startswith(prefix)]
  require(prefix not in names, f'an array is named {prefix!r} alone.')
  return {name[len(prefix) :]: arrays.pop(name) for name in names}


def _unpack(name: str, packed: np.ndarray, shape: Any) -> np.ndarray:
  what = f'mask {name!r}'
  require(array_container.is_shape(shape), f'{what} has an invalid shape.')
  count = math.prod(shape)
  require(
    packed.dtype == np.uint8 and packed.shape == ((count + 7) // 8,),
    f'{what} of shape {shape} must have {(count + 7) // 8} bytes, but is '
    f'{packed.dtype.name} {packed.shape}.',
  )
  bits = np.unpackbits(packed)
  require(
    not bits[count:].any(),
    f'{what} does not end in zeros: its padding must be 0.',
  )
  return bits[:count].view(bool).reshape(shape)
