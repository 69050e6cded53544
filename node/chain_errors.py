"""Chain failures at the start of a node, as one line with the mend and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chain.errors import (
    ChainError,
    ChainTimeoutError,
    ContractMissingError,
    DeploymentFileError,
    UnderfundedError,
    UnreachableError,
    WrongChainError,
)
from node.errors import ConfigError, ExitCode, NodeError

if TYPE_CHECKING:
    from node.config import NodeConfig


class ChainStartError(NodeError):
    """The chain can not be used; the exit code tells why."""

    def __init__(self, cause: str, mend: str, exit_code: ExitCode) -> None:
        super().__init__(cause, mend)
        self.exit_code = exit_code


@contextmanager
def explained(config: NodeConfig) -> Iterator[None]:
    """Translate ChainError inside the block."""
    url = config.chain.rpc_url
    try:
        yield
    except DeploymentFileError as exc:
        raise ConfigError(exc.detail, "set chain.deployment to the network's file") from exc
    except (UnreachableError, ChainTimeoutError) as exc:
        raise ChainStartError(
            f"no chain answers at {url} ({exc.detail})",
            "start it or set chain.rpc_url",
            ExitCode.CHAIN_UNREACHABLE,
        ) from exc
    except WrongChainError as exc:
        raise ChainStartError(
            f"{url} serves another chain: {exc.detail}",
            "set chain.rpc_url or chain.deployment",
            ExitCode.WRONG_CHAIN,
        ) from exc
    except ContractMissingError as exc:
        raise ChainStartError(
            exc.detail, "deploy first, or set chain.deployment", ExitCode.CONTRACT_MISSING
        ) from exc
    except UnderfundedError as exc:
        raise ChainStartError(
            exc.detail, "send ether to the session key", ExitCode.UNDERFUNDED
        ) from exc
    except ChainError as exc:
        raise ChainStartError(
            f"{url} refused: {exc.detail}", "check the endpoint", ExitCode.CHAIN_REJECTED
        ) from exc
