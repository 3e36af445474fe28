#!/usr/bin/env bash
# Makes a Debian with its own Python, as a stand-in for the image python:3.11-slim-bookworm where that
# cannot be pulled: base_image.sh ARCHIVE
set -euo pipefail
archive=$1
folder=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$folder"' EXIT
tree=$folder/tree

# Bookworm's python3 is 3.11.
PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase \
  --include=python3,python3-venv,ca-certificates bookworm "$tree"
ln -s python3 "$tree/usr/bin/python"
# What a slim image does without.
rm -rf "$tree"/usr/share/{doc,man,info,locale} "$tree"/var/{cache/apt,log}/* "$tree"/var/lib/apt/lists/*

tar -C "$tree" -cf "$folder/tree.tar" .
mv "$folder/tree.tar" "$archive"
