"""What goes wrong between this node and the chain; `fault` is the stable reason code."""

from __future__ import annotations

from enum import StrEnum


class ChainFault(StrEnum):
    """Stable code of a chain failure, for logs, metrics, exit codes and tests."""

    UNREACHABLE = "chain_unreachable"
    TIMEOUT = "chain_timeout"
    BAD_RESPONSE = "chain_bad_response"
    REFUSED = "chain_refused"
    WRONG_CHAIN = "wrong_chain"
    CONTRACT_MISSING = "contract_missing"
    REVERTED = "reverted"
    NONCE_TOO_LOW = "nonce_too_low"
    UNDERPRICED = "underpriced"
    UNDERFUNDED = "underfunded"
    REORG_TOO_DEEP = "reorg_too_deep"
    DEPLOYMENT_FILE = "deployment_file"
    BAD_TABLE = "bad_table"


class ChainError(Exception):
    """The chain could not be read or written; base of all below."""

    fault: ChainFault

    def __init__(self, detail: str) -> None:
        super().__init__(f"{self.fault.value}: {detail}")
        self.detail = detail


class UnreachableError(ChainError):
    """Nothing answers at the endpoint, or it answers with an HTTP failure."""

    fault = ChainFault.UNREACHABLE


class ChainTimeoutError(ChainError):
    """No answer, receipt or block by the deadline."""

    fault = ChainFault.TIMEOUT


class BadResponseError(ChainError):
    """The endpoint answered something that JSON-RPC or Ethereum does not allow."""

    fault = ChainFault.BAD_RESPONSE


class RefusedError(ChainError):
    """The endpoint answered with a JSON-RPC error of no kind named below; `code` is its number."""

    fault = ChainFault.REFUSED

    def __init__(self, detail: str, code: int) -> None:
        super().__init__(detail)
        self.code = code


class WrongChainError(ChainError):
    """The endpoint serves another chain than the deployment names."""

    fault = ChainFault.WRONG_CHAIN


class ContractMissingError(ChainError):
    """No code stands at an address of the deployment."""

    fault = ChainFault.CONTRACT_MISSING


class RevertedError(ChainError):
    """A call or transaction reverted; `error` is the name of the Solidity error, "" if unknown."""

    fault = ChainFault.REVERTED

    def __init__(self, error: str, data: bytes, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.data = data


class NonceTooLowError(ChainError):
    """The nonce of a transaction is used up."""

    fault = ChainFault.NONCE_TOO_LOW


class UnderpricedError(ChainError):
    """Another transaction holds this nonce and pays as much."""

    fault = ChainFault.UNDERPRICED


class UnderfundedError(ChainError):
    """The account can not pay the gas."""

    fault = ChainFault.UNDERFUNDED


class ReorgTooDeepError(ChainError):
    """The chain was rewritten below every block that the cursor remembers."""

    fault = ChainFault.REORG_TOO_DEEP


class DeploymentFileError(ChainError):
    """The deployment file is missing or not a deployment."""

    fault = ChainFault.DEPLOYMENT_FILE


class BadTableError(ChainError):
    """The registry's operator table can not be used; no honest registry stores such a row."""

    fault = ChainFault.BAD_TABLE
