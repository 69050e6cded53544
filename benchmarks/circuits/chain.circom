pragma circom 2.1.6;

include "poseidon.circom";
include "merkle_sum.circom";

// A segment of any size, with the signals of examples/solvency: a chain of Poseidon hashes, each of
// 240 constraints, then of squarings, each of one. 6 more keep the public values in the system.
template Chain(hashes, squarings) {
    var rows = 16;

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

    component bound[6];
    for (var i = 0; i < 6; i++) {
        bound[i] = Bind();
    }
    bound[0].in <== requestIdHi;
    bound[1].in <== requestIdLo;
    bound[2].in <== prover;
    bound[3].in <== segmentIndex;
    bound[4].in <== accountCount;
    bound[5].in <== rootHash;

    component hash[hashes];
    for (var i = 0; i < hashes; i++) {
        hash[i] = Poseidon(2);
        hash[i].inputs[0] <== i == 0 ? salt[0] : hash[i - 1].out;
        hash[i].inputs[1] <== account[0];
    }

    signal square[squarings + 1];
    square[0] <== hash[hashes - 1].out;
    for (var i = 0; i < squarings; i++) {
        square[i + 1] <== square[i] * square[i];
    }
}
