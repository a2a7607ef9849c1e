/* SPDX-License-Identifier: MIT */
/*
 * Arrays in memory of malloc that grow by doubling. Locks, if any, are the array's owner's.
 */
#ifndef FOLD_META_BASE_GROW_H
#define FOLD_META_BASE_GROW_H

#include "meta/base/attr.h"

#include <errno.h>

/* What FOLD_GROW stands for; `array` is the address of the pointer to the items. */
static inline int fold_grow(void *array, size_t *cap, size_t need, size_t least, size_t item_bytes)
{
    if (FOLD_LIKELY(need <= *cap))
        return 0;
    size_t fresh = FOLD_MAX(FOLD_MAX(*cap * 2, need), least);
    void *items;
    memcpy(&items, array, sizeof items);
    items = reallocarray(items, fresh, item_bytes);
    if (items == NULL)
        return -ENOMEM;
    memcpy(array, &items, sizeof items);
    *cap = fresh;
    return 0;
}

/*
 * Makes room for `need` items in all in `items`, of which it has room for `cap` (a size_t); both
 * are changed where they are. It never has room for fewer than `least` then. 0, or -ENOMEM:
 * everything is as it was.
 */
#define FOLD_GROW(items, cap, need, least) fold_grow(&(items), &(cap), need, least, sizeof *(items))

#endif
