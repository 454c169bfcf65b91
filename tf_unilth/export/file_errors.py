"""TensorFlow's errors of its file system, as Python's."""

import contextlib
import errno
import re
from collections.abc import Iterator

import tensorflow as tf

# The numbers that the errors stand for.
_NUMBERS = {
  tf.errors.ResourceExhaustedError: errno.ENOSPC,
  tf.errors.PermissionDeniedError: errno.EACCES,
  tf.errors.FailedPreconditionError: errno.EROFS,
  tf.errors.UnavailableError: errno.EINTR,
  tf.errors.NotFoundError: errno.ENOENT,
  tf.errors.DataLossError: errno.EIO,
  tf.errors.UnknownError: errno.EIO,
  # Where a checkpoint cannot be read.
  tf.errors.OpError: errno.EIO,
}
# The same as words, in errors of the fingerprint of a SavedModel.
_WORDS = {
  'RESOURCE_EXHAUSTED': errno.ENOSPC,
  'PERMISSION_DENIED': errno.EACCES,
  'FAILED_PRECONDITION': errno.EROFS,
  'UNAVAILABLE': errno.EINTR,
  'NOT_FOUND': errno.ENOENT,
}


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
  """Raises an `OSError` in place of TensorFlow's error of a file.

  >>> with as_os_errors():
  ...   raise tf.errors.ResourceExhaustedError(None, None, 'a.index; disk full')
  Traceback (most recent call last):
  OSError: [Errno 28] a.index; disk full
  """
  try:
    yield
  except tf.errors.OpError as error:
    # The class itself: subclasses are also errors of other things.
    number = _NUMBERS.get(type(error))
    if number is None:
      raise
    raise OSError(number, error.message) from error
  except ValueError as error:
    # TensorFlow wraps the exception of the fingerprint's file in one.
    if type(error.args and error.args[0]).__name__ != 'FingerprintException':
      raise
    found = re.search(r'^([A-Z_]+): (.+)', str(error), re.M)
    word, text = found.groups() if found else ('', str(error))
    raise OSError(_WORDS.get(word, errno.EIO), text) from error
