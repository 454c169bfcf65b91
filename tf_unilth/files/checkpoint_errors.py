"""Errors about directories of checkpoints."""


class CheckpointError(ValueError):
  """The checkpoints in a directory cannot be used to resume this run.

  >>> directory = tempfile.mkdtemp()
  >>> name = 'epoch-000001-step-000000000.checkpoint'
  >>> _ = open(f'{directory}/{name}', 'wb').write(b'half')
  >>> try:
  ...   CheckpointAndResume(directory)
  ... except CheckpointError as error:
  ...   print(str(error).partition(f'{name}: ')[2])
  it has 4 bytes, which is too short.
  """


class DirectoryInUseError(CheckpointError):
  """Another run is writing to the directory.

  >>> import pathlib
  >>> from tf_unilth.files.directory_lock import DirectoryLock
  >>> directory = pathlib.Path(tempfile.mkdtemp())
  >>> lock = DirectoryLock(directory)
  >>> lock.acquire()
  >>> try:
  ...   DirectoryLock(directory).acquire()
  ... except DirectoryInUseError as error:
  ...   print(str(error).partition(': ')[2])
  two runs cannot write to one directory. Wait until it ends, or choose another.
  """
