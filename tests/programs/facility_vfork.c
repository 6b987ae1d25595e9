/* Fork by vfork a child that sleeps until it is killed: meanwhile the parent is in vfork. */
#include <unistd.h>

int main(void)
{
    if (vfork() == 0) {
        (void)!write(1, "x", 1);
        for (;;)
            pause();
    }
    return 0;
}
