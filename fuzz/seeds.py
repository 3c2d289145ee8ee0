#!/usr/bin/env python3
"""Writes the seeds of the corpora: inputs that a fuzzer would need long to find. The same every time.

    fuzz/seeds.py            writes fuzz/corpus/*/seed_*; what the fuzzers found themselves stays
"""

import os
import random
import re
import struct

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
REFERENCE = os.path.join(os.path.dirname(CORPUS), "support", "reference_image.h")
IMAGE_WORDS = 3072  # of the reference segment


def patch(word, how, value):
    """As support/damage.h reads it."""
    return struct.pack("<HBQ", word, how, value & (2**64 - 1))


def damaged_images(chance):
    """Flags, then patches: each table of the segment once, and some of everything."""
    yield bytes([0])
    yield bytes([4])
    yield bytes([1]) + b"THOLESEG"
    for word in range(0, IMAGE_WORDS, 64):  # a word in every 512 bytes
        how = word // 64 % 6
        yield bytes([6]) + patch(word + chance.randrange(64), how, chance.getrandbits(64))
    for _ in range(20):
        patches = [
            patch(chance.randrange(IMAGE_WORDS), chance.randrange(6), chance.getrandbits(16))
            for _ in range(chance.randrange(2, 6))
        ]
        yield bytes([chance.choice([0, 2, 4, 6])]) + b"".join(patches)
    yield from chains_without_end()


def chains_without_end():
    """An entry that is its own successor, and has another name than it is looked up by."""
    copy, flip = 2, 1
    with open(REFERENCE, encoding="utf-8") as file:
        chains = re.search(r"kImageChains\[\] = \{(.*)\};", file.read()).group(1)
    for bucket, entry in re.findall(r"\{(\d+), (\d+)\}", chains):
        bucket, entry = int(bucket), int(entry)
        yield bytes([0]) + patch(entry + 2, copy, bucket) + patch(entry + 4, flip, 0)


def random_rows(chance, count, length_max):
    yield b""
    for _ in range(count):
        yield chance.randbytes(chance.randrange(8, length_max))


def fork_programs(chance):
    """Children and their order, three deaths, programs."""
    for children in range(3):
        for _ in range(8):
            deaths = [chance.choice([0, chance.randrange(1, 120)]) for _ in range(3)]
            yield bytes([children, chance.randrange(4)]) + struct.pack(
                "<3H", *deaths
            ) + chance.randbytes(40 * (children + 1))


def texts(_):
    """Names: a byte for the kind, then a length and the bytes of each."""
    names = ["jobs", "a", "x" * 63, "x" * 64, "a/b", "\x01", "\x7f", "é", "日本", "😀", " ", ".", ".."]
    raw = [name.encode() for name in names]
    raw += [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc2\x85", b"\xe2\x82", b"\xff", b""]
    for kind in range(4):
        for i in range(0, len(raw), 4):
            yield bytes([kind]) + b"".join(bytes([len(n)]) + n for n in raw[i : i + 4])


def command_lines(chance):
    """No damage or some, then words by number; 22 stands for the file."""
    for words in [
        [0],
        [0, 3],
        [1, 5, 22],
        [1, 5, 22, 3],
        [1, 5, 22, 4],
        [1, 5, 22, 4, 3],
        [2, 10, 16],
        [6],
        [7],
        [1],
        [1, 15],
        [2, 9, 19],
    ]:
        yield bytes([0]) + bytes(words)
        yield bytes([2]) + patch(chance.randrange(16384), 1, chance.getrandbits(6)) * 2 + bytes(
            words
        )


def hostile(chance):
    """Calls, and now and then a patch between them."""
    for _ in range(30):
        row = b""
        for _ in range(chance.randrange(4, 20)):
            if chance.randrange(3) == 0:
                row += bytes([3]) + patch(
                    chance.randrange(IMAGE_WORDS), chance.randrange(6), chance.getrandbits(16)
                )
            else:
                row += bytes([chance.choice([0, 1, 2])]) + chance.randbytes(6)
        yield row


def write(name, make):
    """`make` gets a source of chance of this corpus alone, so that others stay when one changes."""
    folder = os.path.join(CORPUS, name)
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.startswith("seed_"):
            os.remove(os.path.join(folder, old))
    for number, content in enumerate(make(random.Random(name))):
        with open(os.path.join(folder, f"seed_{number:02}"), "wb") as file:
            file.write(content)


def main():
    for name in ["segment_open", "segment_image"]:
        write(name, damaged_images)
    write("hostile_live", hostile)
    for name in ["shm", "alloc", "registry", "queue", "comm"]:
        write(name + "_fork", fork_programs)
    write("descriptor", lambda chance: random_rows(chance, 20, 60))
    write("options", lambda chance: random_rows(chance, 40, 60))
    write("comm_calls", lambda chance: random_rows(chance, 40, 300))
    write("names", texts)
    write("command_line", command_lines)


if __name__ == "__main__":
    main()
