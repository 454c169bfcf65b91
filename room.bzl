"""One library per room: a folder of `recipes/` or `tf_unilth/`."""

load("@rules_python//python:defs.bzl", "py_library")

def room(name, deps):
    """Declares the library of a room, with all files of its folder.

    Args:
      name: the name of the folder.
      deps: what the files import.
    """
    py_library(
        name = name,
        srcs = native.glob(["**/*.py"]),
        deps = deps,
    )
