"""Make the bundled word list: names and hypernyms of the 1,000 ImageNet classes, from WordNet 3.0.

    apt-get install wordnet-base
    python benchmarks/word_list.py /usr/share/wordnet/data.noun --out src/glesam/models/weights/words/words.json

The classes are WordNet 3.0 noun synsets (`n` and the offset in `data.noun`); other releases have other offsets.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

NOTICE = (
    "Nouns and their hypernyms are from WordNet 3.0. WordNet 3.0 Copyright 2006 by Princeton University. All rights "
    "reserved. The licence stands in README.md beside this file."
)
HYPERNYMS = ("@", "@i")
"""Pointers of `data.noun` (wndb(5WN)): to a class that this one is a kind of, or an instance of."""


def read_nouns(path: Path) -> dict[str, tuple[list[str], list[str]]]:
    """All synsets of `data.noun`: id to nouns and ids of hypernyms."""
    found = {}
    for line in path.read_text("latin-1").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields = line.split(" | ")[0].split()
        count = int(fields[3], 16)
        nouns = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
        pointers = fields[5 + 2 * count :]
        above = [pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in HYPERNYMS]
        found["n" + fields[0]] = nouns, ["n" + offset for offset in above]
    return found


def with_ancestors(classes: list[str], nouns: dict[str, tuple[list[str], list[str]]]) -> list[str]:
    """The classes and all that they are kinds of, sorted."""
    found, waiting = set(), list(classes)
    while waiting:
        synset = waiting.pop()
        if synset not in found:
            found.add(synset)
            waiting += nouns[synset][1]
    return sorted(found)


def document(classes: list[str], nouns: dict[str, tuple[list[str], list[str]]]) -> dict[str, Any]:
    """The file's content: synsets as `[id, nouns, places of their hypernyms in this list]`, and each class's place."""
    listed = with_ancestors(classes, nouns)
    place = {synset: i for i, synset in enumerate(listed)}
    rows = [[synset, nouns[synset][0], sorted(place[above] for above in nouns[synset][1])] for synset in listed]
    return {"notice": NOTICE, "classes": [place[synset] for synset in classes], "synsets": rows}


def main() -> None:
    """Read, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nouns", type=Path, help="WordNet 3.0's data.noun")
    parser.add_argument("--classes", type=Path, help="text file of class ids in the classifier's order, one a line")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.classes is None:  # those of the file that is there
        before = json.loads(options.out.read_text("utf-8"))
        classes = [before["synsets"][i][0] for i in before["classes"]]
    else:
        classes = options.classes.read_text("utf-8").split()
    content = document(classes, read_nouns(options.nouns))
    options.out.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
    words = {noun.lower() for _, nouns, _ in content["synsets"] for noun in nouns}
    print(f"{len(classes)} classes, {len(content['synsets'])} synsets, {len(words)} different nouns")


if __name__ == "__main__":
    main()
