"""Signatures of every contract function, event and error that a node uses.

A test compares each with the ABI that the compiler made, so that none can drift.
"""

from __future__ import annotations

from typing import Final

from chain.abi import event, function, solidity_error

# ---- ProverRegistry: the AVS and its registrar --------------------------------------------------

_ENTRY: Final = "(address,address,uint96,bytes32[3],bytes32,bytes32)"
OPERATOR_KEYS: Final = "(address,bytes,bytes,bytes32,bytes,string)"
"""What `registerForOperatorSets` carries, abi-encoded, and `rotateKeys`: struct OperatorKeys."""
_KEY_RECORD: Final = "(bytes32[3],address,uint64,address,bytes32,bytes32)"

SET_UP_AVS: Final = function("setUpAvs(string,address[])")
SET_ALLOWED: Final = function("setAllowed(address,bool)")
ROTATE_KEYS: Final = function(f"rotateKeys(address,{OPERATOR_KEYS})")
UPDATE_MULTIADDRS: Final = function("updateMultiaddrs(address,string)")
FREEZE_TABLE: Final = function("freezeTable()", "uint64")
OPEN_EPOCH: Final = function("openEpoch()", "uint64")
CURRENT_EPOCH: Final = function("currentEpoch()", "uint64")
EPOCH_OF: Final = function("epochOf(uint64)", "uint64,uint64,bytes32,uint256,uint256")
TABLE_OF: Final = function("tableOf(uint64)", f"{_ENTRY}[]")
TABLE_HASH_OF: Final = function("tableHashOf(uint64)", "bytes32")
KEY_ID_OF: Final = function("keyIdOf(address)", "uint32")
KEY_RECORD: Final = function("keyRecord(uint32)", _KEY_RECORD)
PEER_OF: Final = function("peerOf(address)", "bytes,string")
STAKE_OF: Final = function("stakeOf(address)", "uint96")
OPERATOR_OF_SESSION: Final = function("operatorOfSession(address)", "address")
EPOCH_BLOCKS: Final = function("EPOCH_BLOCKS()", "uint256")
TABLE_SEED_DELAY: Final = function("TABLE_SEED_DELAY()", "uint256")
TABLE_LIFETIME: Final = function("TABLE_LIFETIME()", "uint256")

OPERATOR_REGISTERED: Final = event(
    "OperatorRegistered(address indexed,uint32 indexed,address,bytes)"
)
OPERATOR_DEREGISTERED: Final = event("OperatorDeregistered(address indexed,uint32 indexed)")
MULTIADDRS_UPDATED: Final = event("MultiaddrsUpdated(address indexed,string)")
TABLE_FROZEN: Final = event("TableFrozen(uint64 indexed,uint256,uint256,bytes32)")
EPOCH_OPENED: Final = event("EpochOpened(uint64 indexed,bytes32)")

# ---- ProofMarket --------------------------------------------------------------------------------

_BATCH: Final = "(uint64,uint64,bytes32,uint64,bytes32,bytes32,uint128,bytes32)"
_RESULT: Final = "(bytes32,bytes32,address,uint8,uint64,uint128)"
_PROGRAM: Final = "(bytes32,(address,bytes)[])"

DEPOSIT: Final = function("deposit(uint256)")
DEPOSIT_FOR: Final = function("depositFor(address,uint256)")
REQUEST_WITHDRAWAL: Final = function("requestWithdrawal(uint256)")
WITHDRAW: Final = function("withdraw()")
ESCROW_OF: Final = function("escrowOf(address)", "uint256")
REGISTER_PROGRAM: Final = function(f"registerProgram(bytes32,{_PROGRAM})")
PROGRAM_OF: Final = function("programOf(bytes32)", _PROGRAM)
VERIFYING_KEY_HASH_OF: Final = function("verifyingKeyHashOf(bytes32,uint256)", "bytes32")
SETTLE: Final = function(f"settle({_BATCH},bytes,bytes,bytes)")
ROOTS: Final = function("roots(uint64)", "bytes32")
LAST_SEQUENCE: Final = function("lastSequence()", "uint64")
ACCRUED_FEES: Final = function("accruedFees()", "uint256")
TREASURY: Final = function("treasury()", "uint256")
RECORD: Final = function(f"record(uint64,{_RESULT},bytes,bytes32[],uint256)")
STATUS_OF: Final = function("statusOf(bytes32)", "uint8")
RESULT_OF: Final = function("resultOf(bytes32)", f"{_RESULT},bytes")
VERIFY_INCLUSION: Final = function("verifyInclusion(uint64,bytes32,bytes32[],uint256)", "bool")

DEPOSITED: Final = event("Deposited(address indexed,address indexed,uint256)")
WITHDRAWAL_REQUESTED: Final = event("WithdrawalRequested(address indexed,uint256,uint256)")
WITHDRAWN: Final = event("Withdrawn(address indexed,uint256)")
PROGRAM_REGISTERED: Final = event("ProgramRegistered(bytes32 indexed,bytes32 indexed)")
BATCH_SETTLED: Final = event(
    "BatchSettled(uint64 indexed,uint64 indexed,uint64,bytes32,uint256,uint256)"
)

# ---- examples -----------------------------------------------------------------------------------

GATE_UPDATE: Final = function(f"update(uint64,{_RESULT},bytes,bytes32[],uint256)")
GATE_IS_OPEN: Final = function("isOpen()", "bool")
GATE_TOTAL_LIABILITIES: Final = function("totalLiabilities()", "uint256")
STABLECOIN_MINT: Final = function("mint(address,uint256)")

# ---- ERC-20 -------------------------------------------------------------------------------------

BALANCE_OF: Final = function("balanceOf(address)", "uint256")
APPROVE: Final = function("approve(address,uint256)", "bool")
TRANSFER: Final = function("transfer(address,uint256)", "bool")
MINT: Final = function("mint(address,uint256)")
"""Of the devnet's test token: anyone may."""

# ---- EigenLayer core v1.4.0 ---------------------------------------------------------------------

_SET: Final = "(address,uint32)"

REGISTER_AS_OPERATOR: Final = function("registerAsOperator(address,uint32,string)")
DELEGATE_TO: Final = function("delegateTo(address,(bytes,uint256),bytes32)")
DELEGATED_TO: Final = function("delegatedTo(address)", "address")
IS_OPERATOR: Final = function("isOperator(address)", "bool")
OPERATOR_SHARES: Final = function("operatorShares(address,address)", "uint256")
DEPOSIT_INTO_STRATEGY: Final = function("depositIntoStrategy(address,address,uint256)", "uint256")
MODIFY_ALLOCATIONS: Final = function(f"modifyAllocations(address,({_SET},address[],uint64[])[])")
REGISTER_FOR_OPERATOR_SETS: Final = function(
    "registerForOperatorSets(address,(address,uint32[],bytes))"
)
DEREGISTER_FROM_OPERATOR_SETS: Final = function(
    "deregisterFromOperatorSets((address,address,uint32[]))"
)
GET_ALLOCATION_DELAY: Final = function("getAllocationDelay(address)", "bool,uint32")
IS_MEMBER_OF_OPERATOR_SET: Final = function(f"isMemberOfOperatorSet(address,{_SET})", "bool")

# ---- custom errors ------------------------------------------------------------------------------

_REGISTRY_ERRORS: Final = (
    "AlreadySetUp()",
    "EmptyTable()",
    "EpochNotAccepted(uint64,uint64)",
    "EpochTooLong()",
    "InvalidBlsKey()",
    "InvalidCertificate()",
    "InvalidNonSigner(uint16)",
    "InvalidPeerId()",
    "InvalidProofOfPossession()",
    "InvalidSealingKey()",
    "InvalidSession()",
    "KeyTaken(bytes32)",
    "MalformedNonSigners()",
    "MultiaddrsTooLong()",
    "NotDue(uint256)",
    "NotOperator()",
    "NotOperatorNorSession()",
    "NothingFrozen()",
    "OnlyAllocationManager()",
    "OperatorNotAllowed(address)",
    "OperatorNotRegistered(address)",
    "OwnableInvalidOwner(address)",
    "OwnableUnauthorizedAccount(address)",
    "PrecompileFailed(uint256)",
    "QuorumNotReached(uint256,uint256)",
    "SeedExpired()",
    "StakeBelowMinimum(uint256,uint256)",
    "TableExpired(uint64,uint256)",
    "TooManyOperators()",
    "UnknownOperatorSet()",
)
_MARKET_ERRORS: Final = (
    "AlreadyRecorded(bytes32)",
    "AmountTooLarge()",
    "CreationFailed()",
    "DataTooLong()",
    "DebitsHashMismatch()",
    "EmptyRoot()",
    "InsufficientEscrow(uint256)",
    "InvalidProgram()",
    "InvalidResult()",
    "MalformedDebits()",
    "NotIncluded()",
    "NotRecorded(bytes32)",
    "NothingToWithdraw()",
    "PaidAboveDebits(uint256,uint256)",
    "ProgramExists(bytes32)",
    "ReentrancyGuardReentrantCall()",
    "SafeERC20FailedOperation(address)",
    "UnexpectedParent(bytes32,bytes32)",
    "UnexpectedSequence(uint64,uint64)",
    "UnknownCircuit(uint256)",
    "UnknownProgram(bytes32)",
    "UnorderedDebits(address)",
    "WithdrawalNotReady(uint256)",
    "ZeroAmount()",
)
_VERIFIER_ERRORS: Final = ("InvalidVerifyingKey()", "NotEnoughGas()")
_EXAMPLE_ERRORS: Final = (
    "FromTheFuture(uint64)",
    "GateClosed()",
    "InvalidClaim()",
    "NotNewer(uint64,uint64)",
    "NotSettled(uint8)",
    "OnlyIssuer()",
    "WrongProgram(bytes32)",
    "WrongRequester(address)",
)
_TOKEN_ERRORS: Final = (
    "ERC20InsufficientAllowance(address,uint256,uint256)",
    "ERC20InsufficientBalance(address,uint256,uint256)",
    "ERC2612ExpiredSignature(uint256)",
    "ERC2612InvalidSigner(address,address)",
)
_CORE_ERRORS: Final = (
    "ActivelyDelegated()",
    "AlreadyMemberOfSet()",
    "CurrentlyPaused()",
    "InsufficientMagnitude()",
    "InvalidAVSRegistrar()",
    "InvalidOperator()",
    "InvalidOperatorSet()",
    "InvalidPermissions()",
    "InvalidSignature()",
    "ModificationAlreadyPending()",
    "NonexistentAVSMetadata()",
    "NotActivelyDelegated()",
    "NotMemberOfSet()",
    "SameMagnitude()",
    "StrategyNotWhitelisted()",
    "UninitializedAllocationDelay()",
    "WithdrawalDelayNotElapsed()",
)
ERRORS: Final = tuple(
    solidity_error(signature)
    for group in (
        _REGISTRY_ERRORS,
        _MARKET_ERRORS,
        _VERIFIER_ERRORS,
        _EXAMPLE_ERRORS,
        _TOKEN_ERRORS,
        _CORE_ERRORS,
    )
    for signature in group
)
