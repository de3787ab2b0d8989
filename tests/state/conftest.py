"""The same profiles of random tests as the domain has."""

import tests.domain.conftest  # noqa: F401
