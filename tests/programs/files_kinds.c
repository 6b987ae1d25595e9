/*
 * files_kinds KIND LIMIT: what one kind of call does at a limit of LIMIT open files.
 *
 * First the limit is filled with event counters and KIND is called without room for it, then with
 * just enough room; then the limit is filled with KIND alone. Prints, on a line each: the error
 * of the call without room, that of the call with room, the number of files made by KIND
 * alone, and the error of the last call. "-" where this host does not let us make KIND.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILES 100

static sigset_t nothing;
static int listener = -1;

static int
raw(long a, long b, long c, long d, long e)
{
    return syscall(a, b, c, d, e, 0);
}

static int
by_openat2(void)
{
    uint64_t how[3] = { O_RDONLY, 0, 0 };

    return raw(437, AT_FDCWD, (long)"/dev/null", (long)how, sizeof how);
}

static int
by_clone(void)
{
    int pidfd = -1;
    pid_t child = raw(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, (long)&pidfd, 0);

    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0);
    return child < 0 ? -1 : pidfd;
}

static int
by_clone3(void)
{
    int pidfd = -1;
    struct clone_args how = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD,
        .pidfd = (uintptr_t)&pidfd };
    pid_t child = raw(435, (long)&how, sizeof how, 0, 0);

    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0);
    return child < 0 ? -1 : pidfd;
}

static int
perf_event(void)
{
    struct perf_event_attr what = { .type = PERF_TYPE_SOFTWARE, .size = sizeof what,
        .config = PERF_COUNT_SW_DUMMY, .exclude_kernel = 1 };

    return raw(SYS_perf_event_open, (long)&what, 0, -1, -1);
}

static int
queue(void)
{
    struct mq_attr size = { .mq_maxmsg = 1, .mq_msgsize = 1 };
    char name[40];
    int fd;

    snprintf(name, sizeof name, "/governor-%d", getpid());
    fd = mq_open(name, O_CREAT | O_RDWR, 0600, &size);
    if (fd >= 0)
        mq_unlink(name);
    return fd;
}

static int
bpf_map(void)
{
    uint32_t what[18] = { 2, 4, 4, 1 }; /* an array of one element of 4 bytes */

    return raw(SYS_bpf, 0, (long)what, sizeof what, 0);
}

static int
ruleset(void)
{
    uint64_t handled = 1;

    return raw(444, (long)&handled, sizeof handled, 0, 0);
}

/* A connection that waits to be accepted; its client is closed again, and so not in the count. */
static void
connect_one(void)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    getsockname(listener, (struct sockaddr *)&address, &size);
    if (connect(fd, (struct sockaddr *)&address, size) < 0)
        perror("connect");
    close(fd);
}

static int
accepted(int flags)
{
    return flags < 0 ? accept(listener, NULL, NULL) : accept4(listener, NULL, NULL, flags);
}

static void
listen_here(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t));
    listen(listener, MAX_FILES);
    for (int i = 0; i < MAX_FILES; i++)
        connect_one();
}

/* Makes one; the descriptors go into fds. */
static int
make(const char *kind, int fds[2])
{
    const char *null = "/dev/null";

#define IS(name) if (strcmp(kind, #name) == 0) return
#define ONE(name, call) IS(name) (fds[0] = (call)) < 0 ? -1 : 1
#define TWO(name, call) IS(name) (call) < 0 ? -1 : 2
#ifdef SYS_open /* aarch64 has none of the calls that others have replaced */
    ONE(open, raw(SYS_open, (long)null, O_RDONLY, 0, 0));
    ONE(creat, raw(SYS_creat, (long)null, 0600, 0, 0));
    TWO(pipe, raw(SYS_pipe, (long)fds, 0, 0, 0));
    ONE(eventfd, raw(SYS_eventfd, 0, 0, 0, 0));
    ONE(epoll_create, raw(SYS_epoll_create, 1, 0, 0, 0));
    ONE(inotify_init, raw(SYS_inotify_init, 0, 0, 0, 0));
    ONE(signalfd, raw(SYS_signalfd, -1, (long)&nothing, 8, 0));
#endif
    ONE(openat, openat(AT_FDCWD, null, O_RDONLY));
    ONE(openat2, by_openat2());
    ONE(o_path, openat(AT_FDCWD, null, O_PATH));
    ONE(socket, socket(AF_INET, SOCK_DGRAM, 0));
    TWO(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    TWO(pipe2, pipe2(fds, O_CLOEXEC));
    ONE(eventfd2, eventfd(0, EFD_CLOEXEC));
    ONE(epoll_create1, epoll_create1(0));
    ONE(memfd_create, memfd_create("kind", 0));
    ONE(memfd_secret, raw(447, 0, 0, 0, 0));
    ONE(accept, accepted(-1));
    ONE(accept4, accepted(SOCK_CLOEXEC));
    ONE(timerfd_create, timerfd_create(CLOCK_MONOTONIC, 0));
    ONE(inotify_init1, inotify_init1(0));
    ONE(signalfd4, raw(SYS_signalfd4, -1, (long)&nothing, 8, 0));
    ONE(pidfd_open, raw(434, getpid(), 0, 0, 0));
    ONE(clone, by_clone());
    ONE(clone3, by_clone3());
    ONE(perf_event_open, perf_event());
    ONE(userfaultfd, raw(SYS_userfaultfd, 1, 0, 0, 0));
    ONE(fanotify_init, raw(SYS_fanotify_init, 0, 0, 0, 0));
    ONE(bpf, bpf_map());
    ONE(mq_open, queue());
    ONE(landlock_create_ruleset, ruleset());
    ONE(open_tree, raw(428, AT_FDCWD, (long)"/", 0, 0));
    ONE(fsopen, raw(430, (long)"tmpfs", 0, 0, 0));
    ONE(fspick, raw(433, AT_FDCWD, (long)"/dev/shm", 0, 0));
    ONE(open_by_handle_at, raw(SYS_open_by_handle_at, AT_FDCWD, 0, 0, 0));
    ONE(fsmount, raw(432, -1, 0, 0, 0));
    ONE(open_tree_attr, raw(467, -1, 0, 0, 0));
    fprintf(stderr, "no such kind: %s\n", kind);
    exit(2);
}

static const char *
error(int result)
{
    return result < 0 ? strerrorname_np(errno) : "0";
}

int
main(int count, char **arguments)
{
    const char *kind = arguments[1], *refused, *admitted;
    int limit = atoi(arguments[2]), held = 3, cost, fds[2], filler[MAX_FILES], made = 0, n = 0;

    close_range(3, ~0U, 0);
    if (strncmp(kind, "accept", 6) == 0) {
        listen_here();
        held++;
    }
    cost = strncmp(kind, "pipe", 4) == 0 || strcmp(kind, "socketpair") == 0 ? 2 : 1;
    for (n = 0; held + n < limit; n++)
        filler[n] = eventfd(0, 0);
    if (cost == 2)
        close(filler[--n]); /* room for one is not room for two */
    refused = error(make(kind, fds));
    close(filler[--n]);
    cost = make(kind, fds);
    admitted = error(cost);
    for (int i = 0; i < cost; i++)
        close(fds[i]);
    while (n > 0)
        close(filler[--n]);
    printf("%s\n%s\n", refused, admitted);
    if (cost < 0) {
        printf("-\n-\n");
        return 0;
    }
    while ((cost = make(kind, fds)) > 0)
        made += cost;
    printf("%d\n%s\n", held + made, error(cost));
    return 0;
}
