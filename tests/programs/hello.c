/* hello: says so. Compiled in every way there is. */
#include <stdio.h>
#include <stdlib.h>

int
main(void)
{
    /* Something for a sanitizer to look at. */
    char *memory = malloc(10);

    if (memory == NULL || puts("hello") < 0)
        return 1;
    free(memory);
    return 0;
}
