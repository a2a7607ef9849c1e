/* SPDX-License-Identifier: MIT */
/*
 * mkfs, open and close of a store directory. The superblock is written last by mkfs, so a directory
 * is a store only when everything else of it is complete; until then a file says that what is in it
 * is mkfs' own and may be thrown away. Order of opening: superblock, lock,
 * store, catalog; closing goes backwards, because the catalog's last checkpoint needs the store.
 */
#include "meta/volume.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/redo.h"
#include "meta/shadow.h"
#include "meta/storelock.h"
#include "meta/superblock.h"
#include "meta/twin.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>

/* Directories of a store, in the order they are removed by a failed mkfs. */
static const char *const subdirs[] = {FOLD_CATALOG_DIR, "index",     "segments",
                                      "journal",        "snapshots", "run"};

/* There from before mkfs makes anything until the directory is a store; locked by mkfs. */
#define BEGUN FOLD_VOLUME_BEGUN

/* Files that mkfs makes beside the directories. */
static const char *const own_files[] = {BEGUN, "lock", "volume.bak.new"};

static bool is_own(const char *name)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(subdirs); i++)
        if (strcmp(name, subdirs[i]) == 0)
            return true;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(own_files); i++)
        if (strcmp(name, own_files[i]) == 0)
            return true;
    return false;
}

static int reject_name(void *arg, const char *name)
{
    const bool *unfinished = arg;
    /* The root of a fresh host filesystem counts as empty. */
    return strcmp(name, "lost+found") == 0 || (*unfinished && is_own(name)) ? 0
                                                                            : -FOLD_E_STORE_EXISTS;
}

static int remove_name(void *arg, const char *name)
{
    const int *dirfd = arg;
    if (strcmp(name, BEGUN) != 0)
        (void)unlinkat(*dirfd, name, 0);
    return 0;
}

/* Takes back what an unfinished mkfs made, but for the file that says so. Best effort: the
 * directory was empty before. */
static void clean_up(int storefd)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(subdirs); i++) {
        int fd = fold_io_open(storefd, subdirs[i], O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            continue;
        int rc = fold_io_list(fd, remove_name, &fd);
        (void)close(fd);
        if (rc < 0 || unlinkat(storefd, subdirs[i], AT_REMOVEDIR) < 0)
            fold_warn("mkfs: cannot remove %s again", subdirs[i]);
    }
    if (fold_io_list(storefd, remove_name, &storefd) < 0)
        fold_warn("mkfs: cannot empty the directory again");
}

/* The space that the file `reserve` holds back, so that a store on a full host can still be opened
 * and emptied. */
#define RESERVE_BYTES (1u << 20)

/* Gives the reserve back to the host if there is not much else. */
static int spend_reserve(int storefd)
{
    uint64_t space;
    int rc = fold_io_space(storefd, &space);
    if (rc < 0 || space >= 2 * RESERVE_BYTES)
        return rc;
    FOLD_AUTO(close) int fd = fold_io_open(storefd, "reserve", O_RDWR | O_CREAT, 0600);
    return fd < 0 ? fd : fold_io_truncate(fd, 0);
}

/* Takes it again, or half of it: the next opening needs that much, the rest is for deletes now. */
static int fill_reserve(int storefd)
{
    FOLD_AUTO(close) int fd = fold_io_open(storefd, "reserve", O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fd;
    int rc = fold_io_fallocate(fd, 0, 0, RESERVE_BYTES);
    if (rc != -ENOSPC)
        return rc;
    rc = fold_io_truncate(fd, 0);
    return rc < 0 ? rc : fold_io_fallocate(fd, 0, 0, RESERVE_BYTES / 2);
}

static int take_lock(int storefd, bool shared, int *lockfd)
{
    int fd = fold_io_open(storefd, "lock", shared ? O_RDONLY : O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fd;
    int rc = fold_storelock_take(fd, shared);
    if (rc == 0)
        *lockfd = fd;
    else
        (void)close(fd);
    return rc;
}

static int draw(struct fold_volume_params *p)
{
    if (getrandom(p->uuid, sizeof p->uuid, 0) != (ssize_t)sizeof p->uuid ||
        getrandom(p->secret, sizeof p->secret, 0) != (ssize_t)sizeof p->secret)
        return -EIO;
    p->uuid[6] = (uint8_t)((p->uuid[6] & 0x0f) | 0x40); /* version 4, random */
    p->uuid[8] = (uint8_t)((p->uuid[8] & 0x3f) | 0x80);
    return 0;
}

static int fill(int storefd, const struct fold_volume_params *wanted)
{
    struct fold_volume_params p = *wanted;
    FOLD_AUTO(close) int lockfd = -1;
    int rc = take_lock(storefd, false, &lockfd);
    if (rc == 0)
        rc = draw(&p);
    if (rc == 0)
        rc = fold_io_mkdir(storefd, "snapshots", 0700);
    if (rc == 0)
        rc = fold_io_mkdir(storefd, "run", 0700);
    if (rc == 0)
        rc = fold_store_format(storefd);
    if (rc == 0)
        rc = fold_catalog_format(storefd);
    if (rc == 0)
        rc = fold_io_fsync(storefd);
    return rc == 0 ? fold_superblock_write(storefd, &p) : rc;
}

/* Makes the name of a new store directory durable. */
static int sync_parent(int storefd)
{
    FOLD_AUTO(close) int parent = fold_io_open(storefd, "..", O_RDONLY | O_DIRECTORY, 0);
    /* The parent may be unreadable for us: then its owner made the directory, and its name is his
     * care. */
    return parent < 0 ? 0 : fold_io_fsync(parent);
}

/* Marks the directory as being made: it must be empty, or hold only what a killed mkfs left. */
static int begin(int storefd, int *lockfd)
{
    struct fold_volume_params there;
    struct stat st;
    bool unfinished = fstatat(storefd, BEGUN, &st, AT_SYMLINK_NOFOLLOW) == 0;
    int rc = fold_io_list(storefd, reject_name, &unfinished);
    if (rc < 0)
        return rc;
    int fd = fold_io_open(storefd, BEGUN, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fd;
    *lockfd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -FOLD_E_LOCKED : -errno;
    /* Another mkfs may have been faster: now it is either done or dead. */
    if (fold_superblock_read(storefd, false, &there) != -FOLD_E_NOT_A_STORE)
        return -FOLD_E_STORE_EXISTS;
    rc = fold_io_fsync(storefd);
    if (rc == 0 && unfinished) {
        fold_warn("mkfs: what an earlier mkfs that did not finish has left is removed");
        clean_up(storefd);
    }
    return rc;
}

int fold_volume_format(const char *path, const struct fold_volume_params *wanted)
{
    int made = fold_io_mkdir(AT_FDCWD, path, 0700);
    if (made < 0 && made != -EEXIST)
        return made;
    FOLD_AUTO(close) int fd = fold_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    FOLD_AUTO(close) int begun = -1;
    int rc = fd < 0 ? fd : begin(fd, &begun);
    bool mine = rc == 0;
    if (rc == 0 && fchmod(fd, 0700) < 0)
        rc = -errno;
    if (rc == 0)
        rc = fill(fd, wanted);
    if (rc == 0)
        rc = sync_parent(fd);
    if (rc < 0 && mine)
        clean_up(fd);
    if (mine || (begun >= 0 && rc != -FOLD_E_LOCKED))
        (void)unlinkat(fd, BEGUN, 0);
    if (rc < 0 && made == 0)
        (void)rmdir(path);
    return rc;
}

int fold_volume_probe(const char *path, struct fold_volume_params *out)
{
    FOLD_AUTO(close) int fd = fold_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? fd : fold_superblock_read(fd, false, out);
}

static int open_parts(struct fold_volume *v, const struct fold_volume_options *opt)
{
    struct fold_volume_params params;
    int rc = fold_superblock_read(v->fd, false, &params);
    if (rc == 0)
        rc = take_lock(v->fd, opt->read_only, &v->lockfd);
    if (rc == 0)
        rc = fold_superblock_read(v->fd, !opt->read_only, &v->params);
    if (rc < 0)
        return rc;
    struct fold_store_options store = opt->store;
    struct fold_catalog_options catalog = opt->catalog;
    store.fp_width = v->params.hash == 1 ? 16 : 32;
    store.read_only = opt->read_only;
    catalog.read_only = opt->read_only;
    catalog.keyed_names = (v->params.features & FOLD_FEATURE_DIRHASH2) != 0;
    if (catalog.keyed_names)
        rc = fold_namehash_key(v->params.secret, sizeof v->params.secret, catalog.name_key);
    if (rc == 0 && !opt->read_only)
        rc = spend_reserve(v->fd);
    if (rc == 0 && !opt->read_only)
        rc = fold_twin_clean(v->fd, FOLD_CATALOG_DIR);
    if (rc == 0 && !opt->read_only)
        rc = fold_redo_run(v->fd);
    if (rc == 0 && opt->read_only && store.overlay == NULL) {
        rc = fold_redo_overlay(v->fd, &v->overlay);
        store.overlay = v->overlay;
    }
    if (rc == 0)
        rc = fold_store_open(v->fd, &store, &v->store);
    if (rc == 0)
        rc = fold_catalog_open(v->fd, &catalog, v->store, &v->catalog);
    fold_shadow_vanish(v->overlay);
    if (rc == 0 && !opt->read_only && fill_reserve(v->fd) == -ENOSPC)
        fold_warn("volume: the host is full; delete files or free space there");
    return rc;
}

int fold_volume_open(const char *path, const struct fold_volume_options *opt,
                     struct fold_volume **out)
{
    struct fold_volume *v = calloc(1, sizeof *v);
    if (v == NULL)
        return -ENOMEM;
    v->lockfd = -1;
    v->read_only = opt->read_only;
    v->fd = fold_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    int rc = v->fd < 0 ? v->fd : open_parts(v, opt);
    if (rc < 0) {
        (void)fold_volume_close(v, false);
        return rc;
    }
    *out = v;
    return 0;
}

int fold_volume_settle(struct fold_volume *v, bool clean)
{
    clean = clean && !v->read_only;
    int rc = fold_catalog_close(v->catalog, clean);
    int rc2 = fold_store_close(v->store, clean);
    fold_shadow_destroy(v->overlay);
    v->catalog = NULL;
    v->store = NULL;
    v->overlay = NULL;
    return rc < 0 ? rc : rc2;
}

int fold_volume_close(struct fold_volume *v, bool clean)
{
    if (v == NULL)
        return 0;
    int rc = fold_volume_settle(v, clean);
    if (v->lockfd >= 0)
        (void)close(v->lockfd);
    if (v->fd >= 0)
        (void)close(v->fd);
    free(v);
    return rc;
}
