/* SPDX-License-Identifier: MIT */
/*
 * Error codes. A function that can fail returns 0 or a negative code: -errno for system failures,
 * -FOLD_E_* for our own (from err.def). Outputs are untouched on failure unless the function says
 * otherwise.
 */
#ifndef FOLD_META_BASE_ERR_H
#define FOLD_META_BASE_ERR_H

#include <errno.h>

#define FOLD_E_FIRST 10000

enum fold_err {
    FOLD_E_BASE_ = FOLD_E_FIRST - 1,
#define FOLD_ERR(name, class, text) FOLD_E_##name,
#include "meta/base/err.def"
#undef FOLD_ERR
    FOLD_E_END_
};

/* The sentence for a code returned by any foldfs function (sign ignored). Never NULL; static
 * storage. */
const char *fold_err_text(int code);

/* The short name of the code, "EIO" or "BAD_RECORD" (sign ignored). Never NULL; static storage. */
const char *fold_err_name(int code);

/* The positive errno that stands for the code towards the kernel (0 for 0). */
int fold_err_errno(int code);

#endif
