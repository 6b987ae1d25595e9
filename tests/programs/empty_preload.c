/* empty_preload: a library that somebody preloads for reasons of their own. */
int empty_preload_is_here = 1;
