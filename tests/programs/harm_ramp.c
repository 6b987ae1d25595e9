/*
 * harm_ramp PROCESSES FILES: makes exactly so many under a 2 kHz timer whose handler does not
 * restart calls, then one more of each. Prints the errors of these two, "0" where there is none,
 * or at once what was refused too early.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static void
handle(int signal)
{
}

static const char *
try_fork(void)
{
    pid_t child = fork();

    if (child == 0)
        for (;;)
            pause();
    return child < 0 ? strerrorname_np(errno) : "0";
}

static const char *
try_open(void)
{
    return open("/dev/null", O_RDONLY) < 0 ? strerrorname_np(errno) : "0";
}

static void
repeat(const char *(*try)(void), int times, const char *what)
{
    for (int i = 0; i < times; i++) {
        const char *error = try();

        if (strcmp(error, "0") != 0) {
            printf("%s %d of %d: %s\n", what, i + 1, times, error);
            exit(1);
        }
    }
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    struct itimerval often = { { 0, 500 }, { 0, 500 } };

    close_range(3, ~0U, 0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    repeat(try_fork, atoi(arguments[1]), "fork");
    repeat(try_open, atoi(arguments[2]), "open");
    printf("%s\n", try_fork());
    printf("%s\n", try_open());
    fflush(stdout);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    return 0;
}
