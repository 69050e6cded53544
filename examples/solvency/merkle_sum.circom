pragma circom 2.1.6;

include "poseidon.circom";

// One inner node of a Merkle-sum tree. The hash covers both sums separately, so that a prover can
// not move liabilities between two children of equal total.
template SumNode() {
    signal input leftHash;
    signal input leftSum;
    signal input rightHash;
    signal input rightSum;
    signal output hash;
    signal output sum;

    component node = Poseidon(4);
    node.inputs[0] <== leftHash;
    node.inputs[1] <== leftSum;
    node.inputs[2] <== rightHash;
    node.inputs[3] <== rightSum;
    hash <== node.out;
    sum <== leftSum + rightSum;
}

// A perfect binary Merkle-sum tree over 2^depth (hash, sum) leaves, in heap order: node 1 is the
// root and node i has the children 2i and 2i + 1.
template SumTree(depth) {
    var leaves = 1 << depth;
    signal input leafHash[leaves];
    signal input leafSum[leaves];
    signal output rootHash;
    signal output rootSum;

    signal hash[2 * leaves];
    signal sum[2 * leaves];
    component node[leaves];

    hash[0] <== 0;
    sum[0] <== 0;
    for (var i = 0; i < leaves; i++) {
        hash[leaves + i] <== leafHash[i];
        sum[leaves + i] <== leafSum[i];
    }
    for (var i = leaves - 1; i > 0; i--) {
        node[i] = SumNode();
        node[i].leftHash <== hash[2 * i];
        node[i].leftSum <== sum[2 * i];
        node[i].rightHash <== hash[2 * i + 1];
        node[i].rightSum <== sum[2 * i + 1];
        hash[i] <== node[i].hash;
        sum[i] <== node[i].sum;
    }
    rootHash <== hash[1];
    rootSum <== sum[1];
}

// Marks a public input as used. A Groth16 verifier must not accept the same proof for another
// value of an input that no constraint mentions; the square keeps it in the constraint system.
template Bind() {
    signal input in;
    signal square;
    square <== in * in;
}

// Booleans of the form 1..1 0..0: used rows come first, which makes the witness unique.
template Prefix(n) {
    signal input flag[n];
    for (var i = 0; i < n; i++) {
        flag[i] * (flag[i] - 1) === 0;
    }
    for (var i = 1; i < n; i++) {
        (1 - flag[i - 1]) * flag[i] === 0;
    }
}
