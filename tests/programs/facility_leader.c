/* A process whose first thread has gone. Another one opens two files and waits for the end of
   its standard input. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void *other(void *leader)
{
    char byte;
    pthread_join(*(pthread_t *)leader, NULL);
    open("/dev/null", O_RDONLY);
    open("/dev/null", O_RDONLY);
    (void)!write(1, "x", 1);
    while (read(0, &byte, 1) > 0)
        ;
    _exit(0);
}

int main(void)
{
    static pthread_t self, thread;
    self = pthread_self();
    pthread_create(&thread, NULL, other, &self);
    pthread_exit(NULL);
}
