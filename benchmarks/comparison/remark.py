"""What is said of each scheme besides the figures; the words follow the figures of docs/COMPARISON.md."""

from __future__ import annotations

from typing import Final

from benchmarks.comparison.document import Remark

REMARKS: Final = {
    "literal": Remark(
        "8",
        "nothing",
        "The scheme that this project started from, taken at its word. Key stream and order of the parts depend on "
        "the key alone, so a few known images give both. Values of the map, scaled, are not even, which every "
        "metric of a single cipher image shows; in float32 the map soon runs into a cycle.",
    ),
    "two maps": Remark(
        "8",
        "nothing",
        "Every sample is moved and the key stream is even, so a single cipher image looks perfect: entropy, "
        "histogram and correlations pass. Stream and order depend on the key alone, and a few images, known or "
        "chosen, are as good as it.",
    ),
    "DEA + CNN": Remark(
        "8",
        "nothing; 32 bytes if the digest is sent apart",
        "The key depends on the image through the efficiencies of its blocks, so attacks on a fixed key stream "
        "fail. But efficiencies are statistics and no hash: samples of a block that change places leave the key as "
        "it was, and so do some changes of one bit, which NPCR shows. With the digest inside the image three chosen "
        "images decrypt any other (*steered head*); sent apart it costs 32 bytes instead of that attack. Linear "
        "programs take most of the time, and their rounding makes decryption depend on the version of a solver.",
    ),
    "Josephus": Remark(
        "8",
        "nothing",
        "Recursive filters carry a change in one direction, and two rounds with a turn carry it everywhere; metrics "
        "of single images pass. All of it is linear modulo 256 but for a constant, so the differences of enough "
        "chosen or known images are the matrix. A change of a high bit reaches high bits only, which NPCR and UACI "
        "see.",
    ),
    "DeepEDN-like": Remark(
        "8",
        "nothing; the key is {key_bytes} bytes",
        "Trained for minutes, on files that are not compared here. A larger network that is trained for days may "
        "lose less and look better. What stays: images do not come back exactly, which rules it out for diagnosis. "
        "Without a random input equal surroundings become equal patterns, so an even background is a pattern, and a "
        "linear regression on three known images brings back about as much of another one as the key does. There is "
        "no key schedule: one training, one key for all images; and a network of which one bit is flipped is the "
        "same key, in effect (*1 bit of the key* is the last bit of one weight).",
    ),
    "chaos-cnn-1": Remark(
        "8, 16",
        "nothing here; 32 bytes of tag in its suite",
        "This project's image cipher alone, with the nonce as tweak. Every key stream depends on the other half of "
        "the image, so a repeated nonce shows which images are equal, and these attacks found nothing more. It does "
        "not authenticate, and it is research.",
    ),
    "hybrid-1": Remark(
        "8, 16",
        "16 bytes of tag",
        "What objects are encrypted with: the image cipher, and AES-256-GCM over its output, under keys that are "
        "derived apart. The image cipher takes most of the time.",
    ),
    "AES-256-GCM": Remark(
        "any",
        "16 bytes of tag",
        "The standard. With a fresh nonce all columns are passed. With a repeated one it is a fixed key stream, "
        "which NPCR, UACI and most attacks show at once. That is a rule of its use, which the gateway keeps by a "
        "fresh key for each object. It is a little slower here than the library's best, as a scheme copies its "
        "images.",
    ),
}
