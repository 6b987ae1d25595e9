#!/bin/sh
# Pack a tree with tar and gzip, unpack it elsewhere, and compare every file with its original.
set -eu
export LC_ALL=C

files=3000
scratch=$(mktemp -d -p "${GOVERNOR_JOB_DIR:-/tmp}")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

find /usr/include -type f -readable | sort | head -n "$files" | sed 's|^/||' >list
mkdir copy
tar -C / -c -T list | gzip -9 >tree.tar.gz
gzip -dc tree.tar.gz | tar -C copy -x

same=0
while read -r file; do
    cmp "/$file" "copy/$file" && same=$((same + 1))
done <list

total=$(wc -l <list)
echo "$same of $total files are the same after tar | gzip and back"
[ "$total" -gt 0 ] && [ "$same" -eq "$total" ]
