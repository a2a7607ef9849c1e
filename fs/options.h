/* SPDX-License-Identifier: MIT */
/*
 * Mount options: one plain struct, filled from comma lists by the table in options.def. Nothing
 * here touches the system except the default that depends on who mounts.
 */
#ifndef FOLD_FS_OPTIONS_H
#define FOLD_FS_OPTIONS_H

#include "meta/store.h"

#include <stdio.h>

enum fold_atime { FOLD_ATIME_RELATIVE, FOLD_ATIME_NEVER, FOLD_ATIME_STRICT };

/* FUSE over io_uring: where the kernel offers it, or the mount fails, or never. */
enum fold_uring_use { FOLD_URING_AUTO, FOLD_URING_ON, FOLD_URING_OFF };

/* Value of `codec`: new chunks are compressed as mkfs said; otherwise an enum fold_codec. */
#define FOLD_MOUNT_CODEC_VOLUME (-1)

struct fold_mount_options {
    bool read_only;
    bool allow_other;
    bool default_permissions; /* always true */
    bool suid;
    bool dev;
    bool exec;
    bool auto_unmount;
    bool debug;
    bool no_dir_atime; /* access times of directories stay */
    int atime;         /* enum fold_atime; the daemon keeps access times, the kernel does not */
    int verify;        /* enum fold_verify */
    int codec;         /* FOLD_MOUNT_CODEC_VOLUME or enum fold_codec */
    int uring;         /* enum fold_uring_use */
    unsigned commit_seconds;
    unsigned threads; /* 0: as many as suit the CPUs */
    unsigned workers; /* likewise */
    uint64_t index_cache_bytes;
    uint64_t chunk_cache_bytes;
    uint64_t dirty_bytes;
    uint64_t readahead_bytes; /* of the mount's bdi; 0: none */
    uint64_t max_read_bytes;
    char labels[1024]; /* options for SELinux as given, a comma list for the kernel; "" if none */
};

/* The defaults; `root` says whether the superuser mounts (then allow_other, suid and dev are on).
 */
void fold_mount_options_init(struct fold_mount_options *opt, bool root);

/*
 * Applies one comma-separated list. A backslash keeps the next character from ending a word.
 * Unknown words are skipped if `sloppy`. Returns 0, or -EINVAL with a whole sentence in `why`;
 * `opt` is then half changed.
 */
int fold_mount_options_parse(struct fold_mount_options *opt, const char *list, bool sloppy,
                             char *why, size_t why_size) FOLD_MUST;

/*
 * The option string for libfuse (what follows -o) that belongs to `opt`: type, source, flags.
 * `store` is the absolute path. malloc'd; NULL if memory is short.
 */
char *fold_mount_options_fuse(const struct fold_mount_options *opt, const char *store);

/* Prints the table, one option per line with its default, as --help shows it. */
void fold_mount_options_help(FILE *out);

/* A size like "16K", "1.5G" or "4096" (powers of 1024; K, M, G, T, optionally followed by "iB" or
 * "B"). -EINVAL, -ERANGE. */
int fold_size_parse(const char *text, uint64_t *bytes) FOLD_MUST;

/* The shortest exact form ("16K", "5000"), in `buf`, which is returned. */
const char *fold_size_exact(uint64_t bytes, char *buf, size_t size);

#endif
