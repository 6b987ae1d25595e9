/* mixed_bomb SEED ROUNDS: after the first line of stdin makes and ends tasks, files and sockets at
   random, says so by a line ("ready"), then after each further line makes all it gets, keeps it, and says
   how many it has and how many it was refused since its start: tasks files sockets EAGAIN EMFILE ENOBUFS other. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KINDS 3
#define MOST 1000

static int held[KINDS][MOST];
static int have[KINDS];
static int refused[KINDS + 1];
static atomic_int *born;
static const int errors[KINDS] = {EAGAIN, EMFILE, ENOBUFS};

static int make(int kind)
{
    int made = -1;

    if (kind == 0) {
        int before = atomic_load(born);

        made = fork();
        if (made == 0) {
            syscall(SYS_close_range, 0, ~0U, 0);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            atomic_fetch_add(born, 1);
            for (;;)
                pause();
        }
        /* Until then it holds what we have, even if we close that. */
        while (made > 0 && atomic_load(born) == before)
            sched_yield();
    } else if (kind == 1) {
        made = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else {
        made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (made >= 0) {
        held[kind][have[kind]++] = made;
        return 1;
    }
    for (kind = 0; kind < KINDS && errno != errors[kind]; kind++)
        ;
    refused[kind]++;
    return 0;
}

static void end(int kind)
{
    int it = held[kind][--have[kind]];

    if (kind) {
        close(it);
    } else {
        kill(it, SIGKILL);
        waitpid(it, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 0;

    born = mmap(NULL, sizeof *born, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    while (getchar() != '\n')
        ;
    srandom(argc > 1 ? atoi(argv[1]) : 0);
    while (rounds--) {
        int kind = random() % KINDS, times = random() % 8, makes = random() % 2;

        while (times--) {
            if (makes)
                make(kind);
            else if (have[kind])
                end(kind);
        }
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    puts("ready");
    for (int byte; (byte = getchar()) != EOF;) {
        if (byte != '\n')
            continue;
        for (int kind = 0; kind < KINDS; kind++)
            while (have[kind] < MOST && make(kind))
                ;
        printf("%d %d %d %d %d %d %d\n", have[0], have[1], have[2], refused[0], refused[1],
               refused[2], refused[3]);
    }
    for (int kind = 0; kind < KINDS; kind++)
        while (have[kind])
            end(kind);
    return 0;
}
