/* SPDX-License-Identifier: MIT */
/*
 * The log: one line per event, to stderr until the daemon detaches and to syslog afterwards.
 * Thread-safe.
 */
#ifndef FOLD_META_BASE_LOG_H
#define FOLD_META_BASE_LOG_H

#include "meta/base/attr.h"

enum fold_log_level { FOLD_LOG_ERROR, FOLD_LOG_WARN, FOLD_LOG_INFO, FOLD_LOG_DEBUG };

/* Lines above this level are dropped. Default FOLD_LOG_INFO. */
void fold_log_set_level(enum fold_log_level level);

/* Sends lines to syslog (ident "foldfs") instead of stderr. */
void fold_log_to_syslog(void);

/* Writes one line, escaped (meta/base/say.h); a newline is added. Never fails, keeps errno. */
void fold_log(enum fold_log_level level, const char *fmt, ...) FOLD_PRINTF(2, 3);

#define fold_error(...) fold_log(FOLD_LOG_ERROR, __VA_ARGS__)
#define fold_warn(...)  fold_log(FOLD_LOG_WARN, __VA_ARGS__)
#define fold_info(...)  fold_log(FOLD_LOG_INFO, __VA_ARGS__)
#define fold_debug(...) fold_log(FOLD_LOG_DEBUG, __VA_ARGS__)

#endif
