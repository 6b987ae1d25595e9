/* Does what each letter on stdin says, and answers with errno and a pid, one line each:
   u unshare a user namespace; n unshare a network namespace (needs rights);
   c clone a child into a new user namespace; 3 the same by clone3; f fork; k end all children. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER 0x10000000UL
#define NET 0x40000000UL

static pid_t children[64];
static int count;

static long make(int letter)
{
    struct clone_args args;

    switch (letter) {
    case 'c':
        return syscall(SYS_clone, USER | SIGCHLD, 0, 0, 0, 0);
    case '3':
        memset(&args, 0, sizeof(args));
        args.flags = USER;
        args.exit_signal = SIGCHLD;
        return syscall(SYS_clone3, &args, sizeof(args));
    default:
        return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    }
}

int main(void)
{
    int letter;

    setvbuf(stdout, NULL, _IONBF, 0);
    printf("0 %d\n", getpid());
    while ((letter = getchar()) != EOF) {
        long pid = 0;
        int error = 0;

        if (letter == 'u' || letter == 'n') {
            error = unshare(letter == 'u' ? USER : NET) ? errno : 0;
        } else if (letter == 'k') {
            while (count > 0) {
                kill(children[--count], SIGKILL);
                waitpid(children[count], NULL, 0);
            }
        } else {
            pid = make(letter);
            if (pid == 0) {
                for (;;)
                    pause();
            }
            if (pid < 0)
                error = errno;
            else
                children[count++] = (pid_t)pid;
        }
        printf("%d %ld\n", error, pid < 0 ? 0 : pid);
    }
    return 0;
}
