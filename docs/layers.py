"""Store the layers of systems beside souron, so that a lecture's page shows them at once.

    .venv/bin/python docs/layers.py           those whose files have changed, or that are missing
    .venv/bin/python docs/layers.py resnet    that one
    .venv/bin/python docs/layers.py --all     every one

What is stored of a system whose file has changed is not used: its page draws it anew.
"""

import argparse
import json

from souron import registry
from souron.report import layers
from souron.utils.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*")
    parser.add_argument("--all", action="store_true")
    chosen = parser.parse_args()
    entries = registry.entries()
    for name in chosen.systems or entries:
        if not chosen.all and not chosen.systems and layers.kept(entries[name]) is not None:
            continue
        held = layers.found(entries[name]).as_json()
        text = json.dumps(held, separators=(",", ":"))
        write_text(layers.STORED / f"{name}.json", text.replace('{"name"', '\n{"name"') + "\n")
        print(f"{name}: {sum(map(len, held['lines']))} layers, {len(text)} bytes", flush=True)


if __name__ == "__main__":
    main()
