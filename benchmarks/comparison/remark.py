"""What is said of each scheme besides the figures; the words follow the figures of docs/COMPARISON.md."""

from __future__ import annotations

from typing import Final

from benchmarks.comparison.document import Remark

REMARKS: Final = {
    "literal": Remark(
        "8",
        "nothing",
        "The scheme this project started from, taken at its word. Key stream and order of the parts depend on the "
        "key alone, so one known image gives the key stream of all others; parts of an image keep their inside. In "
        "float32 the map soon runs into a cycle. The metrics of single cipher images see little of that.",
    ),
    "two maps": Remark(
        "8",
        "nothing",
        "Every sample is moved, and the key stream is even, so a single cipher image looks perfect. Both depend on "
        "the key alone: a few chosen images, or some known ones, are as good as the key.",
    ),
    "DEA + CNN": Remark(
        "8",
        "nothing; 32 bytes if the digest is sent apart",
        "The key depends on the image through the efficiencies of its blocks, so attacks on a fixed key stream "
        "fail. But efficiencies are statistics and not a hash: samples of a block that change places leave the key "
        "as it was, and so do some changes of one sample, which NPCR shows. With the digest inside the image three "
        "chosen images decrypt any other; sent apart it would cost 32 bytes, and that attack. Linear programs take "
        "nearly all of the time, and their rounding makes decryption depend on the version of a solver.",
    ),
    "Josephus": Remark(
        "8",
        "nothing",
        "Filtering diffuses a change in one direction, and two rounds with a turn reach every sample. All of it is "
        "linear modulo 256 but for a constant, so encryption of differences is a matrix, which some known images "
        "give.",
    ),
    "DeepEDN-like": Remark(
        "8",
        "nothing; the key is {key_bytes} bytes",
        "Trained for minutes, on images that are not compared here (among them other slices of a series of which "
        "two are); a larger network that is trained for days does better on loss and looks. What stays: an image "
        "does not come back exactly, which is out of the question for diagnosis; a network without a random input "
        "makes the same of equal surroundings, so an even background becomes a pattern; there is no key schedule, "
        "one key takes one training, and the nearest key decrypts as well as the key. *1 bit of the key* is the "
        "last bit of one weight.",
    ),
    "chaos-cnn-1": Remark(
        "8, 16",
        "nothing here; 32 bytes of tag in its suite",
        "This project's image cipher alone, with the nonce as tweak. Every key stream depends on the other half of "
        "the image, so a repeated nonce shows equal images and no more. It does not authenticate, and it is "
        "research.",
    ),
    "hybrid-1": Remark(
        "8, 16",
        "16 bytes of tag",
        "What objects are encrypted with: the image cipher, then AES-256-GCM. It is as strong as the stronger of "
        "the two, also under a repeated nonce. The image cipher takes most of the time.",
    ),
    "AES-256-GCM": Remark(
        "any",
        "16 bytes of tag, 12 of nonce",
        "The standard. With a fresh nonce every column is passed. With a repeated one it is a fixed key stream, "
        "which NPCR, UACI and every attack on key streams show at once: that is a rule of its use, and the gateway "
        "keeps to it by a fresh key for each object.",
    ),
}
