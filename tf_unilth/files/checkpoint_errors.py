"""Errors of directories that hold checkpoints."""


class CheckpointError(ValueError):
  """The checkpoints of a directory cannot be gone on with, or not by this.

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
  """Another run writes into the directory.

  >>> directory = pathlib.Path(tempfile.mkdtemp())
  >>> lock = DirectoryLock(directory)
  >>> lock.acquire()
  >>> try:
  ...   DirectoryLock(directory).acquire()
  ... except DirectoryInUseError as error:
  ...   print(str(error).partition(': ')[2])
  two runs cannot write into one. Wait for it, or choose another.
  """
