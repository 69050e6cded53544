// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Batch} from "../libraries/ProvernetTypes.sol";

/// @title Escrow of requesters, programs, and the settlement of certified batches. Amounts in wei of the escrow token.
interface IProofMarket {
    // ---- types ----

    /// @param verifier Judges this circuit's proofs on chain (IProofVerifier).
    /// @param verifyingKey Key in that verifier's encoding, stored by the market.
    struct Circuit {
        address verifier;
        bytes verifyingKey;
    }

    /// @param classId Class in which the program's segments trade.
    /// @param circuits In the order that `verifyOnChain` counts them.
    struct ProgramRecord {
        bytes32 classId;
        Circuit[] circuits;
    }

    // ---- errors ----

    error ZeroAmount();
    error AmountTooLarge();
    error InsufficientEscrow(uint256 escrow);
    error NothingToWithdraw();
    error WithdrawalNotReady(uint256 availableAt);

    error ProgramExists(bytes32 programId);
    error UnknownProgram(bytes32 programId);
    error InvalidProgram();
    error UnknownCircuit(uint256 circuit);

    error UnexpectedSequence(uint64 sequence, uint64 expected);
    error UnexpectedParent(bytes32 parent, bytes32 expected);
    error EmptyRoot();
    error DebitsHashMismatch();
    error MalformedDebits();
    /// @notice Requesters out of order or named twice.
    error UnorderedDebits(address requester);
    error PaidAboveDebits(uint256 paid, uint256 debits);

    // ---- events ----

    event Deposited(address indexed requester, address indexed from, uint256 amount);
    event WithdrawalRequested(address indexed requester, uint256 amount, uint256 availableAt);
    event Withdrawn(address indexed requester, uint256 amount);
    event ProgramRegistered(bytes32 indexed programId, bytes32 indexed classId);
    /// @param paid What operators earned in this batch.
    /// @param collected What requesters were charged; the rest is the treasury's.
    event BatchSettled(
        uint64 indexed sequence, uint64 indexed epoch, uint64 round, bytes32 root, uint256 paid, uint256 collected
    );
    /// @notice A requester's escrow did not cover its debit: `missing` was not collected.
    event DebitShortfall(uint64 indexed sequence, address indexed requester, uint256 missing);
    /// @notice Escrow and treasury together did not cover what operators earned: `missing` stays unpaid.
    event PaymentShortfall(uint64 indexed sequence, uint256 missing);

    // ---- escrow ----

    /// @notice Adds to the caller's escrow what arrives of `amount`.
    function deposit(uint256 amount) external;

    /// @notice Adds to another's escrow.
    function depositFor(address requester, uint256 amount) external;

    /// @notice As `deposit`, with an ERC-2612 signature by the caller in place of an approval.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Announces a withdrawal, in place of one announced before; 0 takes it back.
    /// @dev Until it is withdrawn the amount still answers for debits, but it backs no new request (`escrowOf`).
    function requestWithdrawal(uint256 amount) external;

    /// @notice Pays an announced withdrawal, as far as the escrow still covers it, WITHDRAWAL_DELAY after its
    /// announcement.
    function withdraw() external;

    /// @notice What backs new requests: the balance without an announced withdrawal.
    function escrowOf(address requester) external view returns (uint256);

    /// @notice All that answers for debits.
    function balanceOf(address requester) external view returns (uint256);

    /// @return amount Announced withdrawal.
    /// @return availableAt Unix seconds from when it can be withdrawn.
    function withdrawalOf(address requester) external view returns (uint256 amount, uint256 availableAt);

    // ---- programs ----

    /// @notice Registers a program for good; governance only, because an id says nothing about who vouches for the
    /// verifiers.
    function registerProgram(bytes32 programId, ProgramRecord calldata record) external;

    /// @notice A registered program, keys included; reverts if there is none.
    function programOf(bytes32 programId) external view returns (ProgramRecord memory);

    /// @notice keccak256 of a circuit's verifying key, as the verifier wants it.
    function verifyingKeyHashOf(bytes32 programId, uint256 circuit) external view returns (bytes32);

    /// @notice Whether `proof` proves this circuit of the program for these public values.
    function verifyOnChain(bytes32 programId, uint256 circuit, uint256[] calldata publicValues, bytes calldata proof)
        external
        view
        returns (bool);

    // ---- settlement ----

    /// @notice Settles the next batch: checks its certificate, debits requesters, credits operators and the treasury.
    /// @param header Certified batch.
    /// @param debits Packed `address (20 bytes) | uint96 wei (12 bytes)` words, strictly ascending by address.
    /// @param signature Aggregate BLS signature over the digest of `header`, 256 bytes.
    /// @param nonSigners Packed uint16 table positions, strictly ascending.
    function settle(Batch calldata header, bytes calldata debits, bytes calldata signature, bytes calldata nonSigners)
        external;

    /// @notice What operators earned and nobody has fetched: pays out through the rewards of EigenLayer later.
    function accruedFees() external view returns (uint256);

    /// @notice What requesters paid above what operators earned.
    function treasury() external view returns (uint256);
}
