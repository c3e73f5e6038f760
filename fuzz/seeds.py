#!/usr/bin/env python3
"""Writes the first texts of each corpus: the plans of the repository, the mistakes of its tests, and other trainers' files; and the keys of those as a
dictionary.

    python3 fuzz/seeds.py
"""

import ast
import hashlib
import pathlib
import re

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
MOST_BYTES = 3000


def keep(target, text):
    data = text.encode()
    if 0 < len(data) <= MOST_BYTES:
        (HERE / "corpus" / target / hashlib.sha1(data).hexdigest()).write_bytes(data)


def strings(path, call):
    """The string literals that a test hands to `call`, as Rust writes them."""
    for literal in re.findall(call + r'\(&?(?:format!\()?"((?:[^"\\]|\\.)*)"', path.read_text(), re.S):
        literal = re.sub(r"\\\n\s*", "", literal)
        literal = re.sub(r"\\u\{([0-9a-f]+)\}", lambda code: chr(int(code[1], 16)), literal)
        yield ast.literal_eval('"""' + literal.replace('"""', '\\"\\"\\"') + '"""')


for target in ("mem", "yaml", "foreign"):
    (HERE / "corpus" / target).mkdir(parents=True, exist_ok=True)
plans = [*ROOT.glob("examples/*.mem"), *ROOT.glob("memspec/**/*.mem"), *ROOT.glob("memspec-lint/tests/**/*.mem")]
# Mistakes in files of their own are read by tests of their own.
for path in [path for path in plans if "mistakes" not in path.parts]:
    keep("mem", path.read_text())
for path in [*ROOT.glob("memspec/tests/fixtures/**/*.yaml"), *ROOT.glob("memspec-lint/tests/**/*.yaml")]:
    keep("foreign" if "foreign" in path.parts else "yaml", path.read_text())
tests = ROOT / "memspec/tests"
for statements in strings(tests / "mistakes.rs", "inside"):
    keep("mem", 'plan "a" {\n  model = "m"\n  ' + statements + "\n}\n")
for text in [*strings(tests / "yaml.rs", "yaml"), *strings(tests / "yaml.rs", "json")]:
    keep("yaml", text)
keys = re.findall(r"`([a-z0-9_.]+)`", (ROOT / "docs/convert.md").read_text())
(HERE / "foreign.dict").write_text("".join(f'"{key}: "\n' for key in sorted({key.rsplit(".", 1)[-1] for key in keys})))
