/* SPDX-License-Identifier: MIT */
/*
 * Mount options: the table of options.def turned into a parser, a help text and an option string
 * for libfuse.
 */
#include "fs/options.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>

enum kind {
    KIND_FLAG,
    KIND_SIZE,
    KIND_UINT,
    KIND_CHOICE,
    KIND_WORD,
    KIND_LABEL,
    KIND_REFUSE,
    KIND_IGNORE
};

struct word {
    const char *text;
    int value;
};

struct option {
    enum kind kind;
    const char *name;
    size_t field; /* offset in struct fold_mount_options */
    int value;    /* flag, word, choice: what to set or the initial value */
    uint64_t low; /* size, number */
    uint64_t high;
    uint64_t initial;
    const struct word *words; /* choice; ends in a NULL text */
    const char *help;
};

static const struct word verify_words[] = {
    {"first", FOLD_VERIFY_FIRST},
    {"always", FOLD_VERIFY_ALWAYS},
    {"none", FOLD_VERIFY_NONE},
    {NULL, 0},
};

static const struct word codec_words[] = {
    {"lz4", FOLD_CODEC_LZ4},
    {"zstd", FOLD_CODEC_ZSTD},
    {"none", FOLD_CODEC_NONE},
    {NULL, 0},
};

static const struct word uring_words[] = {
    {"auto", FOLD_URING_AUTO},
    {"on", FOLD_URING_ON},
    {"off", FOLD_URING_OFF},
    {NULL, 0},
};

/* The offset of a field, which must have the type the option's kind writes. */
#define FIELD(f, type)                                                                             \
    (offsetof(struct fold_mount_options, f) +                                                      \
     0 * sizeof(char[_Generic(((struct fold_mount_options *)0)->f, type : 1, default               \
                              : -1)]))

#define FOLD_OPT_FLAG(n, f, v, h)                                                                  \
    {.kind = KIND_FLAG, .name = n, .field = FIELD(f, bool), .value = v, .help = h},
#define FOLD_OPT_SIZE(n, f, lo, hi, d, h)                                                          \
    {.kind = KIND_SIZE,                                                                            \
     .name = n,                                                                                    \
     .field = FIELD(f, uint64_t),                                                                  \
     .low = lo,                                                                                    \
     .high = hi,                                                                                   \
     .initial = d,                                                                                 \
     .help = h},
#define FOLD_OPT_UINT(n, f, lo, hi, d, h)                                                          \
    {.kind = KIND_UINT,                                                                            \
     .name = n,                                                                                    \
     .field = FIELD(f, unsigned),                                                                  \
     .low = lo,                                                                                    \
     .high = hi,                                                                                   \
     .initial = d,                                                                                 \
     .help = h},
#define FOLD_OPT_CHOICE(n, f, w, d, h)                                                             \
    {.kind = KIND_CHOICE, .name = n, .field = FIELD(f, int), .words = w, .value = d, .help = h},
#define FOLD_OPT_WORD(n, f, v, h)                                                                  \
    {.kind = KIND_WORD, .name = n, .field = FIELD(f, int), .value = v, .help = h},
#define FOLD_OPT_LABEL(n, h)    {.kind = KIND_LABEL, .name = n, .help = h},
#define FOLD_OPT_REFUSE(n, why) {.kind = KIND_REFUSE, .name = n, .help = why},
#define FOLD_OPT_IGNORE(n)      {.kind = KIND_IGNORE, .name = n},

static const struct option options[] = {
#include "fs/options.def"
};

static bool *bool_at(struct fold_mount_options *opt, size_t field)
{
    return (bool *)((char *)opt + field);
}

static int *int_at(struct fold_mount_options *opt, size_t field)
{
    return (int *)(void *)((char *)opt + field);
}

static unsigned *unsigned_at(struct fold_mount_options *opt, size_t field)
{
    return (unsigned *)(void *)((char *)opt + field);
}

static uint64_t *u64_at(struct fold_mount_options *opt, size_t field)
{
    return (uint64_t *)(void *)((char *)opt + field);
}

void fold_mount_options_init(struct fold_mount_options *opt, bool root)
{
    memset(opt, 0, sizeof *opt);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        if (o->kind == KIND_SIZE)
            *u64_at(opt, o->field) = o->initial;
        else if (o->kind == KIND_UINT)
            *unsigned_at(opt, o->field) = (unsigned)o->initial;
        else if (o->kind == KIND_CHOICE)
            *int_at(opt, o->field) = o->value;
    }
    opt->default_permissions = true;
    opt->exec = true;
    opt->allow_other = root;
    opt->suid = root;
    opt->dev = root;
    opt->atime = FOLD_ATIME_RELATIVE;
}

int fold_size_parse(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *p = text;
    uint64_t whole = 0;
    uint64_t fraction = 0; /* in 1/1000 */
    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return -ERANGE;
    if (*p == '.') {
        unsigned weight = 100;
        for (p++; *p >= '0' && *p <= '9' && weight > 0; p++, weight /= 10)
            fraction += (uint64_t)(*p - '0') * weight;
    }
    unsigned shift = 0;
    const char *unit = strchr(units, *p >= 'a' && *p <= 'z' ? *p & ~0x20 : *p);
    if (unit != NULL && *unit != '\0') {
        shift = 10 * (unsigned)(unit - units + 1);
        p++;
        if (*p == 'i' && p[1] == 'B')
            p++;
    }
    if (*p == 'B')
        p++;
    if (*p != '\0' || (fraction != 0 && shift == 0))
        return -EINVAL;
    if (shift != 0 && whole >> (64 - shift) != 0)
        return -ERANGE;
    *bytes = (whole << shift) + ((fraction << shift) / 1000);
    return 0;
}

const char *fold_size_exact(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    unsigned steps = 0;
    while (steps < 4 && bytes != 0 && (bytes & 1023) == 0) {
        bytes >>= 10;
        steps++;
    }
    const char *unit = units[steps];
    snprintf(buf, size, "%llu%s", (unsigned long long)bytes, unit);
    return buf;
}

static int complain(char *why, size_t size, const char *fmt, ...) FOLD_PRINTF(3, 4);

static int complain(char *why, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static bool takes_value(const struct option *o)
{
    return o->kind == KIND_SIZE || o->kind == KIND_UINT || o->kind == KIND_CHOICE ||
           o->kind == KIND_LABEL;
}

static const char *show(const struct option *o, uint64_t n, char *buf, size_t size)
{
    if (o->kind == KIND_SIZE)
        return fold_size_exact(n, buf, size);
    snprintf(buf, size, "%llu", (unsigned long long)n);
    return buf;
}

static int apply_number(struct fold_mount_options *opt, const struct option *o, const char *value,
                        char *why, size_t size)
{
    char low[24];
    char high[24];
    uint64_t n = 0;
    bool digits = value[strspn(value, "0123456789")] == '\0';
    int rc = o->kind == KIND_SIZE || digits ? fold_size_parse(value, &n) : -EINVAL;
    if (rc == -EINVAL)
        return complain(why, size, "'%s' is not a %s for mount option %s", value,
                        o->kind == KIND_SIZE ? "size (like 64M or 2G)" : "number", o->name);
    if (rc != 0 || n < o->low || n > o->high)
        return complain(why, size, "mount option %s=%s is out of range (%s to %s)", o->name, value,
                        show(o, o->low, low, sizeof low), show(o, o->high, high, sizeof high));
    if (o->kind == KIND_SIZE)
        *u64_at(opt, o->field) = n;
    else
        *unsigned_at(opt, o->field) = (unsigned)n;
    return 0;
}

static int apply_choice(struct fold_mount_options *opt, const struct option *o, const char *value,
                        char *why, size_t size)
{
    char list[128];
    size_t used = 0;
    list[0] = '\0';
    for (const struct word *w = o->words; w->text != NULL; w++) {
        if (strcmp(w->text, value) == 0) {
            *int_at(opt, o->field) = w->value;
            return 0;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used != 0 ? ", " : "",
                                 w->text);
    }
    return complain(why, size, "mount option %s knows no '%s'; choose one of: %s", o->name, value,
                    list);
}

/* Quotes stay: the kernel needs them around a label with commas. */
static int apply_label(struct fold_mount_options *opt, const struct option *o, const char *value,
                       char *why, size_t size)
{
    size_t used = strlen(opt->labels);
    int n = snprintf(opt->labels + used, sizeof opt->labels - used, "%s%s=%s", used > 0 ? "," : "",
                     o->name, value);
    if (n > 0 && (size_t)n < sizeof opt->labels - used)
        return 0;
    opt->labels[used] = '\0';
    return complain(why, size, "the labels of mount option %s and others are too long", o->name);
}

static int apply(struct fold_mount_options *opt, const struct option *o, const char *value,
                 char *why, size_t size)
{
    if (takes_value(o) && (value == NULL || *value == '\0'))
        return complain(why, size, "mount option %s needs a value (%s=...)", o->name, o->name);
    if ((o->kind == KIND_FLAG || o->kind == KIND_WORD) && value != NULL)
        return complain(why, size, "mount option %s takes no value", o->name);
    switch (o->kind) {
    case KIND_FLAG:
        *bool_at(opt, o->field) = o->value != 0;
        return 0;
    case KIND_WORD:
        *int_at(opt, o->field) = o->value;
        return 0;
    case KIND_SIZE:
    case KIND_UINT:
        return apply_number(opt, o, value, why, size);
    case KIND_CHOICE:
        return apply_choice(opt, o, value, why, size);
    case KIND_LABEL:
        return apply_label(opt, o, value, why, size);
    case KIND_REFUSE:
        return complain(why, size, "mount option %s cannot be used: %s", o->name, o->help);
    case KIND_IGNORE:
        break;
    }
    return 0;
}

static const struct option *find(const char *word, size_t name_len)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        if (strchr(o->name, '*') != NULL) {
            if (fnmatch(o->name, word, 0) == 0)
                return o;
        } else if (strlen(o->name) == name_len && memcmp(o->name, word, name_len) == 0) {
            return o;
        }
    }
    return NULL;
}

static int apply_word(struct fold_mount_options *opt, const char *word, bool sloppy, char *why,
                      size_t size)
{
    size_t name_len = strcspn(word, "=");
    const char *value = word[name_len] == '=' ? word + name_len + 1 : NULL;
    const struct option *o = find(word, name_len);
    if (o == NULL && sloppy)
        return 0;
    if (o == NULL)
        return complain(why, size, "unknown mount option '%s'; 'foldfs mount --help' lists them",
                        word);
    return apply(opt, o, value, why, size);
}

/* Copies the next word of *list without its escapes into `word` and moves on; false at the end. A
 * comma between quotes does not end it. */
static bool next_word(const char **list, char *word)
{
    const char *p = *list;
    size_t n = 0;
    bool quoted = false;
    if (*p == '\0')
        return false;
    while (*p != '\0' && (quoted || *p != ',')) {
        quoted ^= *p == '"';
        if (*p == '\\' && p[1] != '\0')
            p++;
        word[n++] = *p++;
    }
    word[n] = '\0';
    *list = *p == ',' ? p + 1 : p;
    return true;
}

int fold_mount_options_parse(struct fold_mount_options *opt, const char *list, bool sloppy,
                             char *why, size_t why_size)
{
    FOLD_AUTO(free) char *word = malloc(strlen(list) + 1);
    int rc = 0;
    if (word == NULL)
        return complain(why, why_size, "out of memory");
    while (rc == 0 && next_word(&list, word))
        if (word[0] != '\0')
            rc = apply_word(opt, word, sloppy, why, why_size);
    return rc;
}

static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == ',' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
}

/* Commas within quotes are escaped for libfuse, those between words are not. */
static void put_labels(FILE *out, const char *labels)
{
    bool quoted = false;
    if (*labels != '\0')
        fputc(',', out);
    for (const char *p = labels; *p != '\0'; p++) {
        quoted ^= *p == '"';
        if (*p == '\\' || (quoted && *p == ','))
            fputc('\\', out);
        fputc(*p, out);
    }
}

char *fold_mount_options_fuse(const struct fold_mount_options *opt, const char *store)
{
    static const char *const atimes[] = {"", ",noatime", ""};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return NULL;
    fputs("default_permissions,subtype=foldfs,fsname=", out);
    put_escaped(out, store);
    fprintf(out, ",max_read=%llu", (unsigned long long)opt->max_read_bytes);
    fputs(opt->read_only ? ",ro" : ",rw", out);
    fputs(opt->allow_other ? ",allow_other" : "", out);
    fputs(opt->suid ? ",suid" : ",nosuid", out);
    fputs(opt->dev ? ",dev" : ",nodev", out);
    fputs(opt->exec ? "" : ",noexec", out);
    fputs(atimes[opt->atime], out);
    fputs(opt->auto_unmount ? ",auto_unmount" : "", out);
    put_labels(out, opt->labels);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static void help_left(const struct option *o, char *left, size_t size)
{
    int n = snprintf(left, size, "%s%s", o->name, takes_value(o) ? "=" : "");
    if (o->kind == KIND_SIZE)
        snprintf(left + n, size - (size_t)n, "SIZE");
    else if (o->kind == KIND_UINT)
        snprintf(left + n, size - (size_t)n, "N");
    else if (o->kind == KIND_LABEL)
        snprintf(left + n, size - (size_t)n, "LABEL");
    else if (o->kind == KIND_CHOICE)
        for (const struct word *w = o->words; w->text != NULL && (size_t)n < size; w++)
            n += snprintf(left + n, size - (size_t)n, "%s%s", w != o->words ? "|" : "", w->text);
}

static void help_default(const struct option *o, FILE *out)
{
    char size[24];
    if (o->kind == KIND_SIZE)
        fprintf(out, " (default %s)", fold_size_exact(o->initial, size, sizeof size));
    else if (o->kind == KIND_UINT && o->initial != 0)
        fprintf(out, " (default %llu)", (unsigned long long)o->initial);
    else if (o->kind == KIND_CHOICE)
        for (const struct word *w = o->words; w->text != NULL; w++)
            if (w->value == o->value)
                fprintf(out, " (default %s)", w->text);
}

void fold_mount_options_help(FILE *out)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char left[64];
        if (o->kind == KIND_REFUSE || o->kind == KIND_IGNORE)
            continue;
        help_left(o, left, sizeof left);
        fprintf(out, "  %-26s %s", left, o->help);
        help_default(o, out);
        fputc('\n', out);
    }
    fputs("  Also accepted, for fstab:", out);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(options); i++)
        if (options[i].kind == KIND_IGNORE)
            fprintf(out, " %s", options[i].name);
    fputc('\n', out);
}
