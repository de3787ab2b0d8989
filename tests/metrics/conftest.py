"""The same worlds, clients and golden files as the API's tests have."""

from tests.api.conftest import connect, example, golden

__all__ = ["connect", "example", "golden"]
