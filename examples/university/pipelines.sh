#!/bin/sh
# Ask many small questions of the licence texts, each with a pipeline of four programs:
# how many words of this text begin, and how many end, with this letter? It has to add up.
set -eu
export LC_ALL=C

# count TEXT PATTERN: print how many words of the text match the pattern.
count() {
    tr -cs 'A-Za-z' '\n' <"$1" | tr '[:upper:]' '[:lower:]' | sed -n "/$2/p" | wc -l
}

cd /usr/share/common-licenses
pipelines=0
begin=0
end=0
for text in *; do
    for letter in a b c d e f g h i j k l m n o p q r s t u v w x y z; do
        begin=$((begin + $(count "$text" "^$letter")))
        end=$((end + $(count "$text" "$letter\$")))
        pipelines=$((pipelines + 2))
    done
done

total=$(cat -- * | tr -cs 'A-Za-z' '\n' | grep -c .)
echo "$pipelines pipelines counted $begin and $end words; one pipeline counts $total"
[ "$total" -gt 0 ] && [ "$begin" -eq "$total" ] && [ "$end" -eq "$total" ]
