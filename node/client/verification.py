"""Checks a proof bundle offline, step by step: from the requester's signature to the certificate.

The steps are independent: each says what it found, even after another failed. The chain of trust
ends at the operator table, whose hash only the registry can confirm.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from node.client.bundle_format import Bundle, BundleError, decode_bundle, read_document
from node.client.table_hash import TableHashError, table_hash
from node.crypto import Crypto
from node.errors import BackendError, InputError
from protocol.batch import ResultStatus, result_leaf
from protocol.claims import Claim, Submission, combine_claim, encode_claim
from protocol.eip712 import batch_digest, digest
from protocol.errors import LocalProtocolError, Rejection
from protocol.hashing import keccak
from protocol.merkle import verify_proof
from protocol.programs import COMBINE, GROTH16, SEGMENT, program_id
from protocol.sealing import commitment_holds
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.batch import Batch
    from protocol.eip712 import Domain
    from protocol.messages import Certificate
    from protocol.rotation import OperatorTable

STEPS: Final = (
    "request",
    "program",
    "verifying keys",
    "proofs",
    "claim",
    "result",
    "inclusion",
    "batch",
    "certificate",
    "operator table",
)
"""Names of the steps in their order."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its name, whether it held, what it found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All steps; `table_compared` is False where the caller named no table hash to trust."""

    steps: tuple[Step, ...]
    table_hash: str
    """Hash of the bundle's operator table, 0x hex; empty if it can not be recomputed."""
    table_compared: bool

    @property
    def ok(self) -> bool:
        """Whether every step held."""
        return all(step.ok for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """What `node verify --json` prints."""
        return {
            "ok": self.ok,
            "table_hash": self.table_hash,
            "table_compared": self.table_compared,
            "steps": [
                {"name": step.name, "ok": step.ok, "detail": step.detail} for step in self.steps
            ],
        }


def verify_bundle(bundle: object, table_hash: str = "") -> Report:
    """Check a bundle with no node and no chain.

    Args:
        bundle: JSON of `GET /v1/requests/{id}/proof` or of `load_bundle`.
        table_hash: the operator table's hash that the caller trusts, 0x hex; empty to be told it.

    Raises:
        InputError: the bundle or the hash is malformed.
    """
    try:
        held = decode_bundle(read_document(bundle))
    except BundleError as exc:
        raise InputError(f"this is no proof bundle: {exc}", "save it again") from exc
    return _Verification(held).report(parse_hash(table_hash) if table_hash else None)


class FailedError(Exception):
    """A step does not hold; the text says why."""


class _Verification:
    """The checks of one bundle; each returns what it found or raises."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._crypto = Crypto()

    def report(self, trusted: bytes | None) -> Report:
        """Run every step."""
        computed = ""
        missing = ""
        try:
            computed = _hex(table_hash(self._bundle.table.operators))
        except TableHashError as exc:
            missing = str(exc)
        checks: tuple[Callable[[], str], ...] = (
            self._request,
            self._program,
            self._verifying_keys,
            self._proofs,
            self._claim,
            self._result,
            self._inclusion,
            self._batch,
            self._certificate,
            lambda: self._table(computed, missing, trusted),
        )
        steps = tuple(run_step(name, check) for name, check in zip(STEPS, checks, strict=True))
        return Report(steps, computed, table_compared=trusted is not None)

    def _request(self) -> str:
        held, requester = self._bundle, self._bundle.request.requester
        request_id = digest(held.domain, held.request)
        require(request_id == held.request_id, "the request has another id")
        require(held.sealed.request_id == request_id, "the bid is for another request")
        require(held.sealed.bidder == requester, "the bid is somebody else's")
        for body_digest, signature, what in (
            (request_id, held.request_signature, "request"),
            (digest(held.domain, held.sealed), held.bid_signature, "bid"),
        ):
            signer = self._crypto.recover(body_digest, signature)
            require(signer == requester, f"the requester did not sign the {what}")
        require(
            commitment_holds(held.domain, held.sealed, held.bid),
            "the sealed bid opens to another maximum fee",
        )
        return f"{_hex(request_id)}, signed by {_hex(requester)}"

    def _program(self) -> str:
        manifest, wanted = self._bundle.manifest, self._bundle.request.program_id
        computed = program_id(manifest)
        require(self._bundle.stated_program_id == computed.hex(), "the manifest states another id")
        require(computed == wanted, "the manifest is another program's")
        require(manifest.proof_system == GROTH16, f"{manifest.proof_system} is not known here")
        return f"{manifest.name} version {manifest.version}, {_hex(computed)}"

    def _verifying_keys(self) -> str:
        for name in (SEGMENT, COMBINE):
            require(self._key_fits(name), f"the {name} key is not the manifest's")
        return "both are the manifest's"

    def _proofs(self) -> str:
        # Only here: it loads the proof system.
        from node.proving.backends.groth16 import Verifier  # noqa: PLC0415

        held = self._bundle
        wanted = len(held.request.input_hashes)
        require(len(held.proofs) == wanted, f"{len(held.proofs)} proofs for {wanted} segments")
        require(wanted - 1 <= held.manifest.max_segments, "more segments than the program has")
        verifiers = {}
        for name in (SEGMENT, COMBINE):
            require(self._key_fits(name), f"not checked: the {name} key is not the manifest's")
            verifiers[name] = Verifier(held.verifying_keys[name])
        for place, proven in enumerate(held.proofs):
            require(proven.segment == place, f"proof {place} is of segment {proven.segment}")
            try:
                verifiers[SEGMENT if place < wanted - 1 else COMBINE].check(
                    proven.publics, proven.proof
                )
            except Rejection as exc:
                raise FailedError(f"proof {place}: {exc}") from exc
        provers = len({proven.prover for proven in held.proofs})
        return f"{wanted} proofs by {provers} provers hold"

    def _claim(self) -> str:
        claim = self._proven_claim()
        require(
            encode_claim(claim) == self._bundle.result.claim, "the result claims something else"
        )
        return f"total {claim.total} of {claim.account_count} accounts, root {claim.root:#066x}"

    def _result(self) -> str:
        result, held = self._bundle.result, self._bundle
        require(result.status is ResultStatus.SETTLED, f"the request ended {result.status.name}")
        require(result.issued_at == held.request.issued_at, "issued_at is not the request's")
        max_fee = int.from_bytes(held.bid.max_fee, "big")
        require(result.fee <= max_fee, f"the fee {result.fee} is above the bid's {max_fee}")
        return f"settled for {result.fee} wei; leaf {_hex(result_leaf(result))}"

    def _inclusion(self) -> str:
        held = self._bundle
        leaf = result_leaf(held.result)
        found = verify_proof(held.batch.root, leaf, held.siblings, held.index)
        require(found, "the result's leaf is not in the batch")
        return f"leaf {held.index} under root {_hex(held.batch.root)}"

    def _batch(self) -> str:
        require(self._bundle.batch.sequence >= 1, "the batch is not one that is settled")
        return check_batch(self._bundle.batch, self._bundle.certificate, self._bundle.domain)

    def _certificate(self) -> str:
        return check_certificate(self._bundle.certificate, self._bundle.table, self._crypto)

    def _table(self, computed: str, missing: str, trusted: bytes | None) -> str:
        table, domain = self._bundle.table, self._bundle.domain
        where = (
            f"ProverRegistry {_hex(domain.registry)} on chain {domain.chain_id},"
            f" tableHashOf({table.epoch})"
        )
        if trusted is None:
            known = f"its hash is {computed}" if computed else f"it has no hash ({missing})"
            return (
                f"epoch {table.epoch}: {known}; NOT compared. Whoever saved this bundle could have"
                f" invented the operators: read {where}, and give it with --table-hash"
            )
        require(bool(computed), f"its hash can not be recomputed: {missing}")
        require(computed == _hex(trusted), f"its hash is {computed}, not the one you trust")
        return f"epoch {table.epoch}: {computed}, the hash you trust; {where} shows it"

    def _key_fits(self, name: str) -> bool:
        wanted = self._bundle.manifest.circuit(name).verifying_key_hash
        return bool(keccak(self._bundle.verifying_keys[name]) == wanted)

    def _proven_claim(self) -> Claim:
        made = [
            Submission(Address(proven.prover), proven.publics) for proven in self._bundle.proofs
        ]
        try:
            return combine_claim(self._bundle.request_id, made[:-1], made[-1])
        except Rejection as exc:
            raise FailedError(str(exc)) from exc


def check_batch(batch: Batch, certificate: Certificate, domain: Domain) -> str:
    """Check that a certificate is over this batch; raises FailedError."""
    named = (certificate.epoch, certificate.round, certificate.value)
    require(named == (batch.epoch, batch.round, batch.value), "the certificate is another round's")
    computed = batch_digest(domain, batch)
    require(computed == certificate.digest, "the certificate is over another batch")
    return f"settlement {batch.sequence}, round {batch.round}, digest {_hex(computed)}"


def check_certificate(certificate: Certificate, table: OperatorTable, crypto: Crypto) -> str:
    """Check that over two thirds of a table's stake signed; raises FailedError."""
    absent = certificate.non_signers
    ascending = all(left < right for left, right in pairwise(absent))
    require(ascending and all(place < len(table.operators) for place in absent), "non-signers")
    require(certificate.epoch == table.epoch, "the operator table is another epoch's")
    signers = [row for place, row in enumerate(table.operators) if place not in set(absent)]
    weight = sum(row.weight for row in signers)
    require(table.quorum(weight), f"no quorum: weight {weight} of {table.total}")
    keys = [row.bls_key for row in signers]
    require(
        crypto.verify_aggregate(keys, certificate.digest, certificate.signature),
        "the aggregate signature does not verify",
    )
    return (
        f"{len(signers)} of {len(table.operators)} operators signed,"
        f" weight {weight} of {table.total}"
    )


def run_step(name: str, check: Callable[[], str]) -> Step:
    """Run one check, which says what it found or raises FailedError."""
    try:
        return Step(name, ok=True, detail=check())
    except (FailedError, BackendError, LocalProtocolError) as exc:
        # A leaf or digest refuses values that no honest batch holds.
        return Step(name, ok=False, detail=str(exc))


def require(holds: bool, what: str) -> None:
    """Raise FailedError unless it holds."""
    if not holds:
        raise FailedError(what)


def parse_hash(text: str) -> bytes:
    """32 bytes of a hexadecimal hash; raises InputError."""
    digits = text.removeprefix("0x")
    if len(digits) != 64 or not all(character in "0123456789abcdefABCDEF" for character in digits):
        raise InputError(f"{text!r} is no table hash", "write 0x and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
