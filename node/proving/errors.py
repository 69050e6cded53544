"""What the proving engine refuses or fails at."""

from __future__ import annotations

from enum import StrEnum

from node import errors


class BackendFault(StrEnum):
    """Stable code of a proving failure, for logs, metrics and tests."""

    UNKNOWN_PROGRAM = "unknown_program"
    ARTIFACT_CORRUPT = "artifact_corrupt"
    COMPILE_FAILED = "compile_failed"
    QUEUE_FULL = "proving_queue_full"
    WORKER_LOST = "proving_worker_lost"
    OUT_OF_MEMORY = "proving_out_of_memory"
    TIMED_OUT = "proving_timed_out"
    SELF_VERIFY_FAILED = "self_verify_failed"
    ENGINE_CLOSED = "proving_engine_closed"


class BackendError(errors.BackendError):
    """The proving engine could not do its work; `fault` says which part failed."""

    def __init__(self, fault: BackendFault, detail: str = "") -> None:
        super().__init__(f"{fault.value}{': ' + detail if detail else ''}")
        self.fault = fault
        self.detail = detail
