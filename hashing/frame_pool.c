/* SPDX-License-Identifier: MIT */
/*
 * Slabs of 2 MiB, aligned to their size so that the kernel can back each with one huge page. Slabs
 * are never returned before the end.
 */
#include "hashing/frame_pool.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define SLAB_BYTES  ((size_t)2 << 20)
#define SLAB_FRAMES (SLAB_BYTES / FOLD_FRAME_BYTES)

void fold_frame_pool_init(struct fold_frame_pool *p)
{
    *p = (struct fold_frame_pool){0};
}

void fold_frame_pool_fini(struct fold_frame_pool *p)
{
    for (size_t i = 0; i < p->slab_count; i++)
        (void)munmap(p->slabs[i], SLAB_BYTES);
    free(p->slabs);
    free(p->spare);
    *p = (struct fold_frame_pool){0};
}

static void *slab_map(void)
{
    uint8_t *raw = mmap(NULL, SLAB_BYTES * 2, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t head = (SLAB_BYTES - (uintptr_t)raw % SLAB_BYTES) % SLAB_BYTES;
    if (head > 0)
        (void)munmap(raw, head);
    (void)munmap(raw + head + SLAB_BYTES, SLAB_BYTES - head);
    (void)madvise(raw + head, SLAB_BYTES, MADV_HUGEPAGE);
    return raw + head;
}

static int slab_add(struct fold_frame_pool *p)
{
    size_t count = p->slab_count + 1;
    uint64_t **spare = realloc(p->spare, count * SLAB_FRAMES * sizeof *spare);
    if (spare == NULL)
        return -ENOMEM;
    p->spare = spare;
    void **slabs = realloc(p->slabs, count * sizeof *slabs);
    if (slabs == NULL)
        return -ENOMEM;
    p->slabs = slabs;
    uint64_t *slab = slab_map();
    if (slab == NULL)
        return -ENOMEM;
    p->slabs[p->slab_count++] = slab;
    for (size_t i = SLAB_FRAMES; i > 0; i--)
        p->spare[p->spare_count++] = slab + (i - 1) * FOLD_FRAME_WORDS;
    return 0;
}

int fold_frame_pool_take(struct fold_frame_pool *p, uint64_t **frames, size_t n)
{
    while (p->spare_count < n) {
        int rc = slab_add(p);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < n; i++)
        frames[i] = p->spare[--p->spare_count];
    return 0;
}

void fold_frame_pool_give(struct fold_frame_pool *p, uint64_t *const *frames, size_t n)
{
    assert(p->spare_count + n <= p->slab_count * SLAB_FRAMES);
    for (size_t i = n; i > 0; i--)
        p->spare[p->spare_count++] = frames[i - 1];
}

size_t fold_frame_pool_used(const struct fold_frame_pool *p)
{
    return p->slab_count * SLAB_FRAMES - p->spare_count;
}
