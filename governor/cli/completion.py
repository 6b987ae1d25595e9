"""``governor completion``: scripts for shells, and the answers to what they ask.

A script only passes on the words of the line. What is offered comes from the parsers, and from
the governor that runs, so that nothing has to be kept up to date by hand.
"""

from __future__ import annotations

import argparse
from typing import Any

from governor.cli.arguments import completes
from governor.cli.output import show, show_lines

_BASH = r"""
_governor() {
    local line=${COMP_LINE:0:COMP_POINT} words current IFS=$' \t\n'
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    IFS=$'\n'
    COMPREPLY=($("${words[0]}" completion answer -- "${words[@]:1}" 2>/dev/null))
    # Readline replaces only what follows the last of these.
    if [[ $current == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[:=]}"}"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=,] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _governor governor
"""

_ZSH = r"""
#compdef governor
_governor() {
    local -a offers open closed
    offers=(${(f)"$("${words[1]}" completion answer -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#offers )) || { _files; return }
    open=(${(M)offers:#*[/:=,]})
    closed=(${offers:#*[/:=,]})
    (( $#open )) && compadd -Q -S '' -a open
    (( $#closed )) && compadd -Q -a closed
}
if [ "$funcstack[1]" = _governor ]; then
    _governor "$@"
else
    compdef _governor governor
fi
"""

_FISH = r"""
function __governor_offers
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l offers ($words[1] completion answer -- $words[2..-1] "$current" 2>/dev/null)
    if test (count $offers) -gt 0
        printf '%s\n' $offers
    else
        __fish_complete_path "$current"
    end
end
complete -c governor -f -a '(__governor_offers)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_DESCRIPTION = """\
Print a script that makes a shell complete commands, options, containers and control files.

  bash  source <(governor completion bash)  in ~/.bashrc
  zsh   source <(governor completion zsh)   in ~/.zshrc, after compinit
  fish  governor completion fish | source   in ~/.config/fish/config.fish

Exit status: 0 done, 2 a mistake on the command line."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``completion`` command."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script for completion in a shell",
        usage="governor completion {bash,zsh,fish}",
        description=_DESCRIPTION,
    )
    # Taken as they are: among the words of a line that is completed may be any option.
    action = parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    completes(action, "shells")
    parser.set_defaults(run=run, failure=1, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print a script, or what a script asks for: ``answer -- WORD ...``."""
    match args.words:
        case ["answer", "--", *words]:
            from governor.cli.complete import complete

            show_lines(complete(words))
        case [shell] if shell in SCRIPTS:
            show(SCRIPTS[shell].strip())
        case _:
            args.parser.error("name one shell: bash, zsh or fish")
    return 0
