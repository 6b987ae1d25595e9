/*
 * cancel_open FIFO: cancels a thread that waits in open. Prints "cleaned up" and "cancelled".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void
clean_up(void *unused)
{
    puts("cleaned up");
}

static void *
wait_in_open(void *path)
{
    pthread_cleanup_push(clean_up, NULL);
    open(path, O_RDONLY);
    pthread_cleanup_pop(0);
    return NULL;
}

int
main(int count, char **arguments)
{
    pthread_t thread;
    void *result;

    pthread_create(&thread, NULL, wait_in_open, arguments[1]);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    puts(result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
    return 0;
}
