"""Writes the licence texts of everything that is linked into the `fruitbatch` program.

usage: third_party_licences.py TARGET OUTPUT      in the root of the repository; TARGET as in x86_64-unknown-linux-gnu
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|notice|unlicense|copyright)", re.IGNORECASE)


def linked_packages(target):
    """The packages that the program is made of, without build scripts' and tests' own dependencies."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.check_output(command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = set(metadata["workspace_members"])
    reached, waiting = set(), [id for id in own if packages[id]["name"] == "fruitbatch"]
    while waiting:
        id = waiting.pop()
        if id in reached:
            continue
        reached.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted((packages[id] for id in reached - own), key=lambda package: (package["name"], package["version"]))


def licence_texts(package):
    """The texts that come with the package, also those of the C libraries inside it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = {path for path in folder.rglob("*") if path.is_file() and LICENCE_FILE.match(path.name)
             and path.suffix.lower() not in {".rs", ".c", ".h", ".py", ".js", ".json", ".toml"}}
    if package["license_file"]:
        found.add((folder / package["license_file"]).resolve())
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in sorted(found)]


def main():
    target, output = sys.argv[1:]
    users = collections.OrderedDict()
    lines = ["Third-party software in the `fruitbatch` program", "=" * 48, ""]
    without_text = []
    for package in linked_packages(target):
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {package['license'] or 'see its text below'}")
        texts = licence_texts(package)
        if not texts:
            authors = ", ".join(package["authors"]) or "its authors"
            without_text.append(f"{name} ({package['license']}), by {authors}, {package['repository'] or ''}")
        for text in texts:
            users.setdefault(text, []).append(name)
    if without_text:
        lines += ["", "These packages name their licence without shipping its text:", ""] + without_text
    for text, names in users.items():
        lines += ["", "-" * 80, "Used by: " + ", ".join(dict.fromkeys(names)), "-" * 80, "", text]
    pathlib.Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
