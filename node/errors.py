"""What stops a node or a command, told to a person: cause, mend, exit code.

Exit codes are stable; `docs/exit-codes.md` is generated from `ExitCode`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Distinct process exit codes of `node`."""

    OK = 0
    """The command worked; where it asks a question, the answer is yes."""
    ANSWER_NO = 1
    """The command worked and the answer is no: not settled, not ready, not verified."""
    BAD_INPUT = 2
    """A command line or an input file is not usable."""
    CONFIG = 3
    """The configuration, or a file that it names, is not usable."""
    KEYSTORE = 4
    """A key file is missing, corrupt, open to other users, or has another password."""
    PORT_IN_USE = 5
    """A listening address of the node is taken."""
    CHAIN_UNREACHABLE = 6
    """The chain's endpoint does not answer."""
    WRONG_CHAIN = 7
    """The endpoint serves another chain than the deployment's."""
    CONTRACT_MISSING = 8
    """A contract of the deployment has no code on this chain."""
    UNDERFUNDED = 9
    """The session account can not pay for a transaction."""
    REFUSED = 10
    """The network refused the request; nothing was charged."""
    NODE_UNREACHABLE = 11
    """No node answers at the given address, or what answers is no node of this version."""
    STORE = 12
    """The node's database is in use, corrupt, or of another version."""
    CHAIN_REJECTED = 13
    """The chain answered, but refused the call or sent nonsense."""
    ANOTHER_INSTANCE = 14
    """Another process signs with this operator's keys: the node stopped to contradict nobody."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


class NodeError(Exception):
    """Base of what a command reports in one line: what is wrong, then what to do about it."""

    exit_code = ExitCode.ANSWER_NO

    def __init__(self, cause: str, mend: str) -> None:
        super().__init__(f"{cause}; {mend}")
        self.cause = cause
        self.mend = mend


class ConfigError(NodeError):
    """The configuration can not be used."""

    exit_code = ExitCode.CONFIG


class KeystoreError(NodeError):
    """A key file is missing, corrupt or locked with another password."""

    exit_code = ExitCode.KEYSTORE


class PortInUseError(NodeError):
    """A listening address is taken."""

    exit_code = ExitCode.PORT_IN_USE


class StoreError(NodeError):
    """The node's database can not be used."""

    exit_code = ExitCode.STORE


class AnotherInstanceError(NodeError):
    """A statement of this operator that this process did not make, made since it began."""

    exit_code = ExitCode.ANOTHER_INSTANCE

    def __init__(self, kind: str, round_number: int, view: int) -> None:
        super().__init__(
            f"another process signs with this operator's keys: {kind} of round {round_number}, "
            f"view {view} was not made here",
            "stop the other one, then start this node again",
        )


class BackendError(Exception):
    """A proof system failed in a way that is neither the input's nor the peer's fault."""


class InputError(NodeError):
    """A file or argument of a command is not usable."""

    exit_code = ExitCode.BAD_INPUT


class RefusedError(NodeError):
    """A node or the network refused a request; `reason` is a code of `docs/reasons.md`."""

    exit_code = ExitCode.REFUSED

    def __init__(self, cause: str, mend: str, reason: str) -> None:
        super().__init__(cause, mend)
        self.reason = reason


class NodeUnreachableError(NodeError):
    """No node answers at the given API address."""

    exit_code = ExitCode.NODE_UNREACHABLE
