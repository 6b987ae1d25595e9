/* Does what each letter of its standard input says and answers every one with a line "ERRNO PID".

   f v c 3 s t   make a task that stays: by fork, vfork, clone, clone3, posix_spawn, pthread_create
   z             make a process that has ended and is not reaped
   d             make a daemon: forked twice, in a session of its own, deaf to SIGTERM
   e             end the newest task that stays and reap it
   r             a thousand times: end the newest, make another by fork; PID is how often that failed
   l             keep eight children, always a new one for the oldest, until the next letter comes;
                 PID is how often a fork failed with ERRNO */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS_MAX 4096
#define RING 8

struct task {
    pid_t pid; /* 0: a thread */
    pthread_t thread;
    sem_t end;
};

static struct task tasks[TASKS_MAX];
static int count;
static char *const pausing[] = {"/proc/self/exe", "pause", NULL};

static void stay(void) {
    for (;;) pause();
}

static void *stay_until_told(void *end) {
    while (sem_wait(end) != 0) {
    }
    return NULL;
}

static pid_t make_process(char how) {
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t pid = -1;
    switch (how) {
    case 'f': pid = fork(); break;
    case 'c': pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); break;
    case '3': pid = (pid_t)syscall(SYS_clone3, &args, sizeof args); break;
    case 'v':
        pid = vfork();
        if (pid == 0) {
            execv(pausing[0], pausing);
            _exit(1);
        }
        return pid;
    case 's':
        errno = posix_spawn(&pid, pausing[0], NULL, NULL, pausing, NULL);
        return errno ? -1 : pid;
    }
    if (pid == 0) stay();
    return pid;
}

static int make_thread(struct task *task) {
    pthread_attr_t small;
    sem_init(&task->end, 0, 0);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    return pthread_create(&task->thread, &small, stay_until_told, &task->end);
}

/* Returns an errno; the new task is tasks[count - 1]. */
static int make(char how) {
    struct task *task = &tasks[count];
    int error = 0;
    if (how == 't') {
        error = make_thread(task);
        task->pid = 0;
    } else if ((task->pid = make_process(how)) < 0) {
        error = errno;
    }
    count += error == 0;
    return error;
}

static nlink_t threads(void) {
    struct stat status;
    return stat("/proc/self/task", &status) == 0 ? status.st_nlink : 0;
}

static void end(struct task *task) {
    if (task->pid) {
        kill(task->pid, SIGKILL);
        waitpid(task->pid, NULL, 0);
        return;
    }
    nlink_t before = threads();
    sem_post(&task->end);
    pthread_join(task->thread, NULL);
    /* A joined thread is still a task of the kernel's for a moment. */
    while (threads() >= before) sched_yield();
}

static int make_zombie(pid_t *pid) {
    siginfo_t info;
    *pid = fork();
    if (*pid == 0) _exit(0);
    if (*pid < 0) return errno;
    waitid(P_PID, (id_t)*pid, &info, WEXITED | WNOWAIT);
    return 0;
}

static int make_daemon(pid_t *pid) {
    int told[2];
    if (pipe(told) != 0) return errno;
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        pid_t daemon = fork();
        if (daemon == 0) stay();
        if (write(told[1], &daemon, sizeof daemon) < 0) _exit(1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    int error = read(told[0], pid, sizeof *pid) == sizeof *pid ? 0 : EIO;
    close(told[0]);
    close(told[1]);
    return error;
}

static int replace(int times) {
    int failed = 0;
    while (times--) {
        end(&tasks[--count]);
        while (make('f') != 0) failed++;
    }
    return failed;
}

static int churn(int *failed) {
    struct pollfd told = {.fd = 0, .events = POLLIN};
    pid_t ring[RING] = {0};
    int error = 0;
    for (int i = 0; poll(&told, 1, 0) == 0; i = (i + 1) % RING) {
        if (ring[i] > 0) {
            kill(ring[i], SIGKILL);
            waitpid(ring[i], NULL, 0);
        }
        ring[i] = fork();
        if (ring[i] == 0) stay();
        if (ring[i] < 0) {
            error = errno;
            ++*failed;
        }
    }
    for (int i = 0; i < RING; i++)
        if (ring[i] > 0) {
            kill(ring[i], SIGKILL);
            waitpid(ring[i], NULL, 0);
        }
    return error;
}

int main(int argc, char **argv) {
    char how;
    if (argc > 0 && strcmp(argv[argc - 1], "pause") == 0) stay();
    dprintf(1, "0 %d\n", getpid());
    while (read(0, &how, 1) == 1) {
        int error = 0, number = 0;
        switch (how) {
        case 'z': error = make_zombie(&number); break;
        case 'd': error = make_daemon(&number); break;
        case 'e': end(&tasks[--count]); break;
        case 'r': number = replace(1000); break;
        case 'l':
            dprintf(1, "0 0\n");
            error = churn(&number);
            break;
        default:
            error = make(how);
            number = error ? 0 : tasks[count - 1].pid;
        }
        dprintf(1, "%d %d\n", error, number);
    }
    return 0;
}
