"""The same site and command as the audit's tests have."""

from tests.audit.conftest import hoso, site

__all__ = ["hoso", "site"]
