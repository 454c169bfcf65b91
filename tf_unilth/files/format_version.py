"""The format versions of files, and the error for those that are not read."""

from typing import Any

from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.wording import version_mismatch

# The key of the version in JSON files.
KEY = 'format_version'


class VersionError(DamagedError):
  """An intact file has a format version that this library does not read."""


def check(found: Any, *read: int) -> None:
  """Checks the format version of a file.

  Args:
    found: the version in the file, a number or its digits.
    *read: the versions that this library reads, the newest last.

  Raises:
    VersionError: it is another version; the message names it and those that
      are read.
  """
  message = version_mismatch(found, *read)
  if message is not None:
    raise VersionError(message)
