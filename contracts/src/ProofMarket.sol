// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ICertificateVerifier} from "./interfaces/ICertificateVerifier.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IProofResults} from "./interfaces/IProofResults.sol";
import {Batch, ProvernetTypes} from "./libraries/ProvernetTypes.sol";
import {Escrow} from "./market/Escrow.sol";
import {Programs} from "./market/Programs.sol";
import {Results} from "./market/Results.sol";

/// @title Where certified batches settle and requesters pay.
/// @notice Invariant: balances of all requesters + accruedFees + treasury <= tokens held.
/// @dev No call leaves the contract in `settle` but the view of the registry; tokens move only in and out of escrow.
contract ProofMarket is Escrow, Programs, Results {
    /// @dev One slot, written once per batch.
    struct Ledger {
        uint64 lastSequence;
        uint96 accruedFees;
        uint96 treasury;
    }

    /// @notice Judges certificates; its address is also the verifying contract of the EIP-712 domain.
    ICertificateVerifier public immutable registry;
    Ledger private _ledger;

    /// @param withdrawalDelay Seconds; longer than a request can take to settle.
    constructor(IERC20 token_, ICertificateVerifier registry_, address owner_, uint256 withdrawalDelay)
        Escrow(token_, withdrawalDelay)
        Programs(owner_)
    {
        registry = registry_;
    }

    /// @inheritdoc IProofMarket
    function settle(Batch calldata header, bytes calldata debits, bytes calldata signature, bytes calldata nonSigners)
        external
        nonReentrant
    {
        Ledger memory ledger = _ledger;
        _checkSuccessor(header, ledger.lastSequence);
        require(keccak256(debits) == header.debitsHash, DebitsHashMismatch());
        bytes32 digest = ProvernetTypes.batchDigest(address(registry), header);
        registry.checkCertificate(header.epoch, digest, signature, nonSigners);

        (uint256 debited, uint256 collected) = _collect(header.sequence, debits);
        require(header.paid <= debited, PaidAboveDebits(header.paid, debited));
        uint256 paid = _pay(ledger, header.sequence, header.paid, collected);
        ledger.lastSequence = header.sequence;
        _ledger = ledger;
        roots[header.sequence] = header.root;
        emit BatchSettled(header.sequence, header.epoch, header.round, header.root, paid, collected);
    }

    /// @inheritdoc IProofResults
    function lastSequence() external view returns (uint64) {
        return _ledger.lastSequence;
    }

    /// @inheritdoc IProofMarket
    function accruedFees() external view returns (uint256) {
        return _ledger.accruedFees;
    }

    /// @inheritdoc IProofMarket
    function treasury() external view returns (uint256) {
        return _ledger.treasury;
    }

    /// @dev A debit above the escrow takes what is there: one poor requester must not hold up everyone's batch.
    function _collect(uint64 sequence, bytes calldata debits) private returns (uint256 debited, uint256 collected) {
        require(debits.length % 32 == 0, MalformedDebits());
        address last;
        for (uint256 offset; offset < debits.length; offset += 32) {
            uint256 word = uint256(bytes32(debits[offset:offset + 32]));
            address requester = address(uint160(word >> 96));
            uint256 amount = uint96(word);
            require(requester > last, UnorderedDebits(requester));
            last = requester;
            uint256 taken = _debit(requester, amount);
            if (taken < amount) emit DebitShortfall(sequence, requester, amount - taken);
            debited += amount;
            collected += taken;
        }
    }

    /// @dev What a requester could not pay, operators still earned: the treasury stands in as far as it goes.
    function _pay(Ledger memory ledger, uint64 sequence, uint256 owed, uint256 collected)
        private
        returns (uint256 paid)
    {
        uint256 available = ledger.treasury + collected;
        paid = owed < available ? owed : available;
        if (paid < owed) emit PaymentShortfall(sequence, owed - paid);
        ledger.accruedFees += uint96(paid);
        ledger.treasury = uint96(available - paid);
    }

    /// @dev One batch per parent, in sequence.
    function _checkSuccessor(Batch calldata header, uint64 lastSequence_) private view {
        require(header.sequence == lastSequence_ + 1, UnexpectedSequence(header.sequence, lastSequence_ + 1));
        bytes32 parent = roots[lastSequence_];
        require(header.parent == parent, UnexpectedParent(header.parent, parent));
        require(header.root != 0, EmptyRoot());
    }
}
