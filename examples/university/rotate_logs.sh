#!/bin/sh
# Write a log, rotate and compress it piece by piece, and check that no line was lost.
set -eu
export LC_ALL=C

scratch=$(mktemp -d -p "${GOVERNOR_JOB_DIR:-/tmp}")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# Something that happened, with a time and a name, one line each: every change of a file.
find /usr -xdev -printf '%T+ %u %s %p\n' 2>/dev/null | head -n 200000 >messages

# split(1) starts the filter once for each piece; $FILE is the piece's name.
# shellcheck disable=SC2016
split --line-bytes=200K --suffix-length=3 --filter='gzip -9 >"$FILE.gz"' messages log.

zcat log.*.gz | cmp - messages
set -- log.*.gz
echo "$(wc -l <messages) lines rotated into $# compressed pieces, none lost"
[ -s messages ]
