pragma circom 2.1.6;

include "bitify.circom";
include "poseidon.circom";
include "merkle_sum.circom";

// Up to 2^depth account balances hash to `rootHash`. Balances are 64-bit, so no sum of a tree of
// 2^depth leaves reaches the field's modulus.
template Segment(depth) {
    var rows = 1 << depth;

    signal input requestIdHi;
    signal input requestIdLo;
    signal input prover;
    signal input segmentIndex;
    signal input accountCount;
    signal input rootHash;

    signal input salt[rows];
    signal input account[rows];
    signal input balance[rows];
    signal input active[rows];

    component boundHi = Bind();
    boundHi.in <== requestIdHi;
    component boundLo = Bind();
    boundLo.in <== requestIdLo;
    component boundProver = Bind();
    boundProver.in <== prover;
    component boundIndex = Bind();
    boundIndex.in <== segmentIndex;

    component prefix = Prefix(rows);
    component range[rows];
    component leaf[rows];
    component tree = SumTree(depth);
    var count = 0;
    for (var i = 0; i < rows; i++) {
        prefix.flag[i] <== active[i];
        count += active[i];

        range[i] = Num2Bits(64);
        range[i].in <== balance[i];
        (1 - active[i]) * balance[i] === 0;

        leaf[i] = Poseidon(3);
        leaf[i].inputs[0] <== salt[i];
        leaf[i].inputs[1] <== account[i];
        leaf[i].inputs[2] <== balance[i];
        tree.leafHash[i] <== active[i] * leaf[i].out;
        tree.leafSum[i] <== balance[i];
    }
    accountCount === count;
    rootHash === tree.rootHash;
}

component main {public [requestIdHi, requestIdLo, prover, segmentIndex, accountCount, rootHash]} = Segment(4);
