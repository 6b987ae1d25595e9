/* harm_mix: threads that connect to a server with epoll while others map, remap and protect memory;
   then posix_spawn, vfork, record locks and a pseudo-terminal. Says what failed first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS 6
#define CALLS 20
#define CHILDREN 10

extern char **environ;
static struct sockaddr_un address;
static socklen_t length;

static void must(int holds, const char *what)
{
    if (!holds) {
        printf("%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void *call_server(void *unused)
{
    for (int i = 0; i < CALLS; i++) {
        char byte = 'a';
        int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        must(end >= 0, "socket");
        must(connect(end, (struct sockaddr *)&address, length) == 0, "connect");
        must(write(end, &byte, 1) == 1 && read(end, &byte, 1) == 1 && byte == 'b', "answer");
        close(end);
    }
    return unused;
}

static void *map(void *unused)
{
    for (size_t i = 1; i <= 100; i++) {
        size_t size = 4096 * i;
        char *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        must(at != MAP_FAILED, "mmap");
        must(mprotect(at, size, PROT_READ) == 0, "mprotect");
        must(mprotect(at, size, PROT_READ | PROT_WRITE) == 0, "mprotect");
        at = mremap(at, size, 2 * size, MREMAP_MAYMOVE);
        must(at != MAP_FAILED, "mremap");
        at[2 * size - 1] = 1;
        munmap(at, 2 * size);
        char *heap = malloc(i * 10000);
        must(heap != NULL, "malloc");
        heap[0] = 1;
        free(heap);
    }
    return unused;
}

static void serve(int server)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server};
    int poll = epoll_create1(EPOLL_CLOEXEC);

    must(poll >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, server, &event) == 0, "epoll");
    for (int closed = 0; closed < CLIENTS * CALLS;) {
        char byte;
        int ready = epoll_wait(poll, &event, 1, -1);

        must(ready == 1 || errno == EINTR, "epoll_wait");
        if (event.data.fd == server) {
            event.data.fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
            must(event.data.fd >= 0, "accept");
            must(epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event) == 0, "epoll_ctl");
        } else if (read(event.data.fd, &byte, 1) == 1) {
            byte++;
            must(write(event.data.fd, &byte, 1) == 1, "write");
        } else {
            close(event.data.fd);
            closed++;
        }
    }
    close(poll);
}

static int start_children(void)
{
    char *argv[] = {"sh", "-c", "exit 3", NULL};
    int sum = 0, status = 0;

    for (int i = 0; i < CHILDREN; i++) {
        pid_t child;

        must((errno = posix_spawnp(&child, "sh", NULL, NULL, argv, environ)) == 0, "posix_spawn");
        must(waitpid(child, &status, 0) == child, "wait");
        sum += WEXITSTATUS(status);
        child = vfork();
        if (child == 0) {
            execvp("true", (char *[]){"true", NULL});
            _exit(9);
        }
        must(child > 0 && waitpid(child, &status, 0) == child, "vfork");
        sum += WEXITSTATUS(status);
    }
    return sum;
}

static void lock(void)
{
    FILE *file = tmpfile();
    struct flock wanted = {.l_type = F_WRLCK, .l_len = 10};

    must(file != NULL, "tmpfile");
    for (int i = 0; i < 50; i++) {
        wanted.l_start = i * 20;
        must(fcntl(fileno(file), F_SETLK, &wanted) == 0, "fcntl");
    }
    must(flock(fileno(file), LOCK_EX) == 0, "flock");
    fclose(file);
}

int main(void)
{
    pthread_t threads[2 * CLIENTS];
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sun_family = AF_UNIX;
    length = sizeof(address);
    must(bind(server, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0, "bind");
    must(getsockname(server, (struct sockaddr *)&address, &length) == 0, "getsockname");
    must(listen(server, CLIENTS) == 0, "listen");
    for (int i = 0; i < 2 * CLIENTS; i++)
        must(pthread_create(&threads[i], NULL, i % 2 ? map : call_server, NULL) == 0, "thread");
    serve(server);
    for (int i = 0; i < 2 * CLIENTS; i++)
        pthread_join(threads[i], NULL);
    lock();
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    must(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0, "openpt");
    must(open(ptsname(terminal), O_RDWR | O_NOCTTY) >= 0, "open of the terminal");
    printf("%d\n", start_children());
    return 4;
}
