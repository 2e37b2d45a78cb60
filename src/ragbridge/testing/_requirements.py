"""What must be there before the suite is imported, and how its assertions are shown."""

from ragbridge.errors import MissingDependencyError

try:
    import hypothesis  # noqa: F401 - only to see whether it is there
    import pytest
except ImportError as error:
    raise MissingDependencyError(
        f"ragbridge.testing needs {error.name}; run: pip install pytest hypothesis", name=error.name
    ) from error

pytest.register_assert_rewrite("ragbridge.testing._suite")
