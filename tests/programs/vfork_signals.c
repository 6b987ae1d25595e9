/*
 * vfork_signals N: N vforks under a 2 kHz timer whose handler does not restart
 * calls. Prints "ok N eintr N other N".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void
handle(int signal)
{
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    struct itimerval often = { { 0, 500 }, { 0, 500 } };
    volatile int ok = 0, eintr = 0, other = 0;

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (volatile int i = 0; i < atoi(arguments[1]); i++) {
        pid_t child = vfork();

        if (child == 0)
            _exit(0);
        if (child > 0) {
            ok++;
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        } else if (errno == EINTR)
            eintr++;
        else
            other++;
    }
    printf("ok %d eintr %d other %d\n", ok, eintr, other);
    return 0;
}
