/* SPDX-License-Identifier: MIT */
/*
 * Arrays that grow by doubling, for the programs of the tests; without memory they end.
 */
#ifndef FOLD_TESTS_SUPPORT_GROW_H
#define FOLD_TESTS_SUPPORT_GROW_H

#include <stdlib.h>

/* An array of `count` items that has room for one more: `array` or where it is now. Called before
 * each item is added, from the first on. */
static inline void *rig_grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0) {
        return array;
    }
    void *bigger = realloc(array, (count ? count * 2 : 1) * size);
    if (!bigger) {
        abort();
    }
    return bigger;
}

#endif
