/* SPDX-License-Identifier: MIT */
/*
 * What files hold, without holding it: extents of patterns that can be made at any place. All
 * memory belongs to an arena, which is emptied after each history.
 */
#ifndef FOLD_TESTS_SIM_CONTENT_H
#define FOLD_TESTS_SIM_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_arena {
    struct sim_block *blocks;
};

void *sim_alloc(struct sim_arena *a, size_t size); /* zeros */
char *sim_text(struct sim_arena *a, const char *text);
void sim_arena_clear(struct sim_arena *a);

/* An array of `count` items with room for one more: `array` or where it is now. */
void *sim_grow(struct sim_arena *a, void *array, size_t count, size_t size);

enum sim_pattern {
    SIM_ZEROS,
    SIM_RANDOM,  /* no byte follows from another */
    SIM_PERIOD,  /* repeats after 1 to 4099 bytes */
    SIM_LETTERS, /* eight letters: compresses */
    SIM_PATTERNS,
    SIM_BYTES /* bytes in memory, at the address `seed` */
};

/* Makes `len` bytes of a pattern from position `pos` on. */
void sim_fill(enum sim_pattern pattern, uint64_t seed, uint64_t pos, uint8_t *out, size_t len);

struct sim_extent {
    uint64_t off, len;
    enum sim_pattern pattern;
    uint64_t seed, pos; /* position of its first byte in the pattern */
};

/* A file's content as it was after operation `op`. */
struct sim_version {
    uint64_t op;
    uint64_t size;
    struct sim_extent *x; /* in order, disjoint; holes between */
    size_t count;
};

/* `len` bytes at `off`; what is not there is zeros. */
void sim_version_read(const struct sim_version *v, uint64_t off, uint8_t *out, size_t len);

/* New versions made from old ones. A pattern of zeros stays an extent: it may be stored. */
struct sim_version sim_version_put(struct sim_arena *a, const struct sim_version *old, uint64_t off,
                                   uint64_t len, enum sim_pattern pattern, uint64_t seed,
                                   uint64_t pos);
struct sim_version sim_version_cut(struct sim_arena *a, const struct sim_version *old,
                                   uint64_t size);
struct sim_version sim_version_punch(struct sim_arena *a, const struct sim_version *old,
                                     uint64_t off, uint64_t len);
struct sim_version sim_version_copy(struct sim_arena *a, const struct sim_version *old,
                                    uint64_t off, const struct sim_version *from, uint64_t from_off,
                                    uint64_t len);

#endif
