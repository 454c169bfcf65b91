"""One test target per test file of a package."""

load("@rules_python//python:defs.bzl", "py_test")

def room_tests(deps = []):
    """Declares a test for each *_test.py of the package.

    Args:
      deps: libraries of the package itself, beside what all tests share.
    """
    for file in native.glob(["**/*_test.py"]):
        py_test(
            name = file[:-len(".py")].replace("/", "_"),
            size = "medium",
            srcs = [
                file,
                "//tests:run_pytest.py",
            ],
            args = ["$(location %s)" % file],
            data = [
                "//:documents",
                "//tests:fixtures",
            ],
            main = "//tests:run_pytest.py",
            deps = deps + [
                "//recipes/costs",
                "//tests/testing",
            ],
        )
