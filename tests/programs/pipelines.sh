# pipelines.sh N: N pipelines of three stages, as a shell script has them.
i=0
while [ $i -lt "$1" ]; do
    echo a | cat | cat >/dev/null
    i=$((i + 1))
done
