/* SPDX-License-Identifier: MIT */
/*
 * Where new chunks go: a few open segments, each taken by one writer at a time. Compresses without
 * any lock, appends many records with one system call, hands full segments to the sealer.
 * Thread-safe.
 */
#ifndef FOLD_META_APPENDER_H
#define FOLD_META_APPENDER_H

#include "meta/reader.h"
#include "meta/sealer.h"

#define FOLD_APPENDERS_MAX 8u

struct fold_appender;

/* What appending needs; all borrowed. */
struct fold_appender_parts {
    int dirfd;
    struct fold_segset *set;
    struct fold_openindex *open;
    struct fold_reader *reader;
    struct fold_barrier *barrier;
    struct fold_sealer *sealer;
    uint8_t fp_width;
    uint32_t segment_bytes;
    enum fold_codec codec;
    int level;
    unsigned count; /* segments open at once, 1 .. FOLD_APPENDERS_MAX */
};

/* -ENOMEM. destroy drops open segments unsealed. */
int fold_appender_create(const struct fold_appender_parts *parts,
                         struct fold_appender **out) FOLD_MUST;
void fold_appender_destroy(struct fold_appender *a);

/* Goes on with a segment left open by an earlier mount (takes the reference over). False if all
 * places are taken. */
bool fold_appender_resume(struct fold_appender *a, struct fold_segment *seg);

/* As fold_store_put. With `anew` nothing is looked up: every chunk is stored and its location
 * replaces a known one. */
int fold_appender_put(struct fold_appender *a, struct fold_put *puts, size_t n,
                      bool anew) FOLD_MUST;

/* Hands every open segment that holds records to the sealer. */
void fold_appender_roll(struct fold_appender *a);

#endif
