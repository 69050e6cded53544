pragma circom 2.1.6;

include "bitify.circom";
include "poseidon.circom";
include "merkle_sum.circom";

// The roots of up to 2^depth segments hash to `root` and their liabilities add up to `total`. An
// unused segment has the hash 0. A segment's sum is private: it is read from the opening of its
// root hash, which its own proof has already bound to real, range-checked balances.
template Combine(depth, totalBits) {
    var segments = 1 << depth;

    signal input requestIdHi;
    signal input requestIdLo;
    signal input prover;
    signal input root;
    signal input total;
    signal input segmentHash[segments];

    signal input used[segments];
    signal input leftHash[segments];
    signal input leftSum[segments];
    signal input rightHash[segments];
    signal input rightSum[segments];

    component boundHi = Bind();
    boundHi.in <== requestIdHi;
    component boundLo = Bind();
    boundLo.in <== requestIdLo;
    component boundProver = Bind();
    boundProver.in <== prover;

    component prefix = Prefix(segments);
    component opening[segments];
    component tree = SumTree(depth);
    for (var i = 0; i < segments; i++) {
        prefix.flag[i] <== used[i];

        opening[i] = SumNode();
        opening[i].leftHash <== leftHash[i];
        opening[i].leftSum <== leftSum[i];
        opening[i].rightHash <== rightHash[i];
        opening[i].rightSum <== rightSum[i];
        used[i] * opening[i].hash === segmentHash[i];

        tree.leafHash[i] <== segmentHash[i];
        tree.leafSum[i] <== used[i] * opening[i].sum;
    }

    component range = Num2Bits(totalBits);
    range.in <== total;
    total === tree.rootSum;
    root === tree.rootHash;
}

component main {public [requestIdHi, requestIdLo, prover, root, total, segmentHash]} = Combine(4, 72);
