/* SPDX-License-Identifier: MIT */
/*
 * The highest segment number ever used, remembered when segments are removed, so that a number
 * never comes back: recipes of the past, forwarding tables and caches may still know it. File
 * segments/last.
 */
#ifndef FOLD_META_SEGNEXT_H
#define FOLD_META_SEGNEXT_H

#include "meta/base/attr.h"

/* Durable on return. `dirfd` is segments/. -ENOSPC, -EIO, ... */
int fold_segnext_save(int dirfd, uint32_t last) FOLD_MUST;

/* 0 and *last set, 0 if nothing was ever removed; -FOLD_E_BAD_SEGMENT if the file is damaged;
 * -errno. */
int fold_segnext_load(int dirfd, uint32_t *last) FOLD_MUST;

#endif
