/*
 * files_share PROCESSES: processes that open, duplicate, inherit, pass on and close files for ever.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 60

static int channel[2], fds[MOST], held;
static unsigned seed;

static void
keep(int fd)
{
    if (fd >= 0)
        fds[held++] = fd;
}

static void
pass_on(void)
{
    char byte = 0, space[CMSG_SPACE(sizeof(int))];
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = space,
        .msg_controllen = sizeof space };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fds[held - 1], sizeof(int));
    sendmsg(channel[0], &message, MSG_DONTWAIT);
    message.msg_controllen = sizeof space;
    /* Keeping the sent file open until it has arrived, so that it is always somebody's. */
    if (recvmsg(channel[1], &message, MSG_DONTWAIT) == 1 && (header = CMSG_FIRSTHDR(&message)))
        memcpy(&fds[held++], CMSG_DATA(header), sizeof(int));
}

static void
one_step(int deep)
{
    switch (rand_r(&seed) % 8) {
    case 0:
    case 1:
    case 2:
        keep(open("/dev/null", O_RDONLY));
        break;
    case 3:
        if (held > 0)
            keep(dup(fds[rand_r(&seed) % held]));
        break;
    case 4:
        if (held > 0)
            pass_on();
        break;
    case 5:
    case 6:
        if (held > 0)
            close(fds[--held]);
        break;
    default:
        if (!deep && rand_r(&seed) % 10 == 0 && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            seed = getpid();
            for (int i = 0; i < 300; i++)
                if (held < MOST - 2)
                    one_step(1);
                else
                    close(fds[--held]);
            _exit(0);
        }
    }
}

int
main(int count, char **arguments)
{
    close_range(3, ~0U, 0);
    signal(SIGCHLD, SIG_IGN);
    for (int i = 1; i < atoi(arguments[1]); i++)
        if (fork() == 0)
            break;
    seed = getpid();
    socketpair(AF_UNIX, SOCK_DGRAM, 0, channel);
    for (;;)
        if (held < MOST - 2)
            one_step(0);
        else
            while (held > 0)
                close(fds[--held]);
}
