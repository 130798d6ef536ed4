#!/usr/bin/env python3
"""Writes a copyright file in Debian's machine-readable form: ours, and what is linked, by licence, from cargo's metadata.

Usage: scripts/licences.py TARGET   (on standard output)
"""
import collections
import json
import subprocess
import sys

metadata = json.loads(subprocess.run(
    ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", sys.argv[1]],
    check=True, capture_output=True, text=True).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

# What the binary is built of: normal dependencies, from the agent down; tools and tests of the workspace are not in it.
linked, todo = set(), [i for i, package in packages.items() if package["name"] == "tidegate"]
while todo:
    one = todo.pop()
    if one in linked:
        continue
    linked.add(one)
    for dependency in nodes[one]["deps"]:
        if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
            todo.append(dependency["pkg"])

by_licence = collections.defaultdict(list)
for package in (packages[i] for i in linked):
    if package["source"]:
        by_licence[package["license"] or "see the source"].append(package)

print("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/")
print("Upstream-Name: tidegate\n\nFiles: *\nCopyright: 2026 the tidegate authors\nLicense: Apache-2.0")
print(" On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.\n")
for licence in sorted(by_licence):
    names = sorted(f"{package['name']} {package['version']}" for package in by_licence[licence])
    authors = sorted({author.split(" <")[0] for package in by_licence[licence] for author in package["authors"]})
    print("Files: linked/" + " linked/".join(name.replace(" ", "-") for name in names))
    print("Copyright: " + ("; ".join(authors) or "see the source") + f"\nLicense: {licence}\n")
