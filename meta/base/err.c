/* SPDX-License-Identifier: MIT */
/*
 * Error texts and their errno classes, generated from err.def.
 */
#include "meta/base/err.h"

#include "meta/base/attr.h"

struct entry {
    int class;
    const char *name;
    const char *text;
};

static const struct entry table[] = {
#define FOLD_ERR(name, class, text) {class, #name, text},
#include "meta/base/err.def"
#undef FOLD_ERR
};

static const struct entry *find(int code)
{
    unsigned c = code < 0 ? 0U - (unsigned)code : (unsigned)code;
    if (c < FOLD_E_FIRST || c >= FOLD_E_END_)
        return NULL;
    return &table[c - FOLD_E_FIRST];
}

const char *fold_err_text(int code)
{
    const struct entry *e = find(code);
    return e != NULL ? e->text : strerror(code < 0 ? -code : code);
}

const char *fold_err_name(int code)
{
    const struct entry *e = find(code);
    if (e != NULL)
        return e->name;
    const char *name = strerrorname_np(code < 0 ? -code : code);
    return name != NULL ? name : "UNKNOWN";
}

int fold_err_errno(int code)
{
    const struct entry *e = find(code);
    return e != NULL ? e->class : (code < 0 ? -code : code);
}
