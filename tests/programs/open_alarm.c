/*
 * open_alarm PATH [fopen]: opens a path for reading, interrupted by SIGALRM
 * (no restart) every 100 ms. Prints the error, or "opened".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static void
handle(int signal)
{
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    struct itimerval soon = { { 0, 100000 }, { 0, 100000 } };
    int opened;

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    if (count > 2)
        opened = fopen(arguments[1], "r") != NULL;
    else
        opened = open(arguments[1], O_RDONLY) >= 0;
    puts(opened ? "opened" : strerror(errno));
    return 0;
}
