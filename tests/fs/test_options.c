/* SPDX-License-Identifier: MIT */
/*
 * Mount options: every kind of entry, sizes, sentences for what is wrong, the string handed to
 * libfuse.
 */
#include "fs/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int parse(struct fold_mount_options *opt, const char *list, char *why, size_t size)
{
    fold_mount_options_init(opt, false);
    return fold_mount_options_parse(opt, list, false, why, size);
}

static void accepts(struct fold_mount_options *opt, const char *list)
{
    char why[256] = "";
    if (parse(opt, list, why, sizeof why) != 0)
        fail_msg("'%s' refused: %s", list, why);
}

static void refuses(const char *list, const char *word)
{
    struct fold_mount_options opt;
    char why[256] = "";
    assert_int_equal(parse(&opt, list, why, sizeof why), -EINVAL);
    if (strstr(why, word) == NULL)
        fail_msg("'%s': the sentence '%s' does not name '%s'", list, why, word);
}

static void defaults_depend_on_root(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    fold_mount_options_init(&opt, true);
    assert_true(opt.allow_other && opt.suid && opt.dev && opt.exec && opt.default_permissions);
    assert_false(opt.read_only || opt.debug || opt.auto_unmount);
    assert_int_equal(opt.commit_seconds, 5);
    assert_int_equal(opt.verify, FOLD_VERIFY_FIRST);
    assert_int_equal(opt.codec, FOLD_MOUNT_CODEC_VOLUME);
    assert_int_equal(opt.atime, FOLD_ATIME_RELATIVE);
    assert_int_equal(opt.uring, FOLD_URING_AUTO);
    assert_true(opt.dirty_bytes > 0 && opt.index_cache_bytes > 0 && opt.chunk_cache_bytes > 0);
    fold_mount_options_init(&opt, false);
    assert_false(opt.allow_other || opt.suid || opt.dev);
    assert_true(opt.exec);
}

static void every_kind_is_set(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    accepts(&opt, "ro,allow_other,noatime,verify=always,compress=zstd,commit=30,index_cache=64M,"
                  "chunk_cache=1.5G,"
                  "dirty_bytes=33554432,threads=3,workers=2,nosuid,nodev,noexec,auto_unmount,debug,"
                  "readahead=0,"
                  "max_read=128K,uring=on");
    assert_int_equal(opt.uring, FOLD_URING_ON);
    assert_true(opt.read_only && opt.allow_other && opt.auto_unmount && opt.debug);
    assert_false(opt.suid || opt.dev || opt.exec);
    assert_int_equal(opt.atime, FOLD_ATIME_NEVER);
    assert_int_equal(opt.verify, FOLD_VERIFY_ALWAYS);
    assert_int_equal(opt.codec, FOLD_CODEC_ZSTD);
    assert_int_equal(opt.commit_seconds, 30);
    assert_int_equal(opt.index_cache_bytes, 64u << 20);
    assert_int_equal(opt.chunk_cache_bytes, 1536u << 20);
    assert_int_equal(opt.dirty_bytes, 32u << 20);
    assert_int_equal(opt.readahead_bytes, 0);
    assert_int_equal(opt.max_read_bytes, 128u << 10);
    assert_int_equal(opt.threads, 3);
    assert_int_equal(opt.workers, 2);
    accepts(&opt, "ro,rw,nosuid,suid,compress=lz4,compress=none,noatime,strictatime");
    assert_true(!opt.read_only && opt.suid);
    assert_int_equal(opt.codec, FOLD_CODEC_NONE);
    assert_int_equal(opt.atime, FOLD_ATIME_STRICT);
}

static void words_of_fstab_pass(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    accepts(
        &opt,
        "defaults,auto,noauto,nofail,_netdev,user,user=joe,users,owner,group,x-systemd.automount,"
        "x-gvfs-name=a\\,b,X-mount.mkdir,comment=none of it,,default_permissions,"
        "async,atime,norelatime,nostrictatime,lazytime,nolazytime,nomand,noiversion,symfollow,"
        "silent,loud,x-quoted=\"a,b\",");
    accepts(&opt, "");
}

static void wrong_words_get_a_sentence(void **state)
{
    (void)state;
    refuses("rw,frobnicate", "unknown mount option 'frobnicate'");
    refuses("cache=1G", "cache=1G");
    refuses("read_only", "read_only");
    refuses("r", "'r'");
    refuses("ro=1", "takes no value");
    refuses("commit", "needs a value");
    refuses("commit=", "needs a value");
    refuses("commit=5s", "'5s' is not a number");
    refuses("commit=1K", "not a number");
    refuses("commit=0", "out of range (1 to 300)");
    refuses("commit=99999999999999999999999", "out of range");
    refuses("threads=-1", "not a number");
    refuses("index_cache=lots", "'lots' is not a size");
    refuses("index_cache=1", "out of range (16M to 1T)");
    refuses("verify=sometimes", "choose one of: first, always, none");
    refuses("compress=gzip", "choose one of");
    refuses("fsname=x", "cannot be used");
    refuses("remount", "unmount and mount again");
    refuses("sync", "O_SYNC");
    refuses("dirsync", "fsync of the directory");
    refuses("mand", "mandatory locks");
    refuses("iversion", "change counters");
    refuses("nosymfollow", "remount,bind,nosymfollow");
    refuses("context", "needs a value");
}

static void sloppy_skips_unknown_words_only(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    char why[256];
    fold_mount_options_init(&opt, false);
    assert_int_equal(fold_mount_options_parse(&opt, "frob=1,ro,nitz", true, why, sizeof why), 0);
    assert_true(opt.read_only);
    assert_int_equal(fold_mount_options_parse(&opt, "commit=never", true, why, sizeof why),
                     -EINVAL);
}

static void lists_add_up(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    char why[256];
    fold_mount_options_init(&opt, false);
    assert_int_equal(fold_mount_options_parse(&opt, "ro", false, why, sizeof why), 0);
    assert_int_equal(fold_mount_options_parse(&opt, "commit=7", false, why, sizeof why), 0);
    assert_true(opt.read_only);
    assert_int_equal(opt.commit_seconds, 7);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"16K", 0, 16384},
        {"16k", 0, 16384},
        {"16KiB", 0, 16384},
        {"16KB", 0, 16384},
        {"100B", 0, 100},
        {"1.5M", 0, 1572864},
        {"0.25G", 0, 268435456},
        {"2T", 0, 2ull << 40},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"16777216T", -ERANGE, 0},
        {"16777215T", 0, 16777215ull << 40},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1 B", -EINVAL, 0},
        {"1X", -EINVAL, 0},
        {"1KK", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1Ki", -EINVAL, 0},
    };
    for (size_t i = 0; i < FOLD_ARRAY_LEN(cases); i++) {
        uint64_t bytes = 0;
        int rc = fold_size_parse(cases[i].text, &bytes);
        if (rc != cases[i].rc || (rc == 0 && bytes != cases[i].bytes))
            fail_msg("'%s' gives %d, %llu", cases[i].text, rc, (unsigned long long)bytes);
    }
}

static void sizes_read_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {0,     1,        1023,       1024,       1536,
                                      16384, 1u << 20, 3ull << 30, 1ull << 40, 1ull << 62};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(values); i++) {
        char text[32];
        uint64_t back;
        assert_int_equal(fold_size_parse(fold_size_exact(values[i], text, sizeof text), &back), 0);
        assert_int_equal(back, values[i]);
    }
    char text[32];
    assert_string_equal(fold_size_exact(16384, text, sizeof text), "16K");
}

static void libfuse_gets_its_share(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    accepts(&opt, "ro,noatime,nodev,suid,allow_other");
    FOLD_AUTO(free) char *text = fold_mount_options_fuse(&opt, "/a store, with\\commas");
    assert_non_null(text);
    assert_non_null(strstr(text, "fsname=/a store\\, with\\\\commas,"));
    assert_non_null(strstr(text, "subtype=foldfs"));
    assert_non_null(strstr(text, "default_permissions"));
    assert_non_null(strstr(text, ",ro"));
    assert_non_null(strstr(text, ",allow_other"));
    assert_non_null(strstr(text, ",noatime"));
    assert_non_null(strstr(text, ",nodev"));
    assert_non_null(strstr(text, ",suid"));
    assert_null(strstr(text, "noexec"));
}

static void labels_reach_the_kernel(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    char why[256], list[1200] = "context=";
    accepts(&opt, "context=\"system_u:object_r:tmp_t:s0:c1,c2\",ro,fscontext=a:b:c");
    assert_true(opt.read_only);
    assert_string_equal(opt.labels, "context=\"system_u:object_r:tmp_t:s0:c1,c2\",fscontext=a:b:c");
    FOLD_AUTO(free) char *text = fold_mount_options_fuse(&opt, "/store");
    assert_non_null(
        strstr(text, ",context=\"system_u:object_r:tmp_t:s0:c1\\,c2\",fscontext=a:b:c"));
    accepts(&opt, "ro");
    FOLD_AUTO(free) char *without = fold_mount_options_fuse(&opt, "/store");
    assert_null(strstr(without, "context"));
    memset(list + 8, 'x', 1100);
    fold_mount_options_init(&opt, false);
    assert_int_equal(fold_mount_options_parse(&opt, list, false, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "too long"));
    assert_string_equal(opt.labels, "");
}

static void directories_have_access_times_of_their_own(void **state)
{
    (void)state;
    struct fold_mount_options opt;
    accepts(&opt, "");
    assert_false(opt.no_dir_atime);
    accepts(&opt, "nodiratime,strictatime");
    assert_true(opt.no_dir_atime);
    assert_int_equal(opt.atime, FOLD_ATIME_STRICT);
    accepts(&opt, "nodiratime,diratime");
    assert_false(opt.no_dir_atime);
}

static void help_names_options_and_defaults(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    fold_mount_options_help(out);
    fclose(out);
    assert_non_null(strstr(text, "commit=N"));
    assert_non_null(strstr(text, "(default 5)"));
    assert_non_null(strstr(text, "verify=first|always|none"));
    assert_non_null(strstr(text, "index_cache=SIZE"));
    assert_null(strstr(text, "remount"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_depend_on_root),
        cmocka_unit_test(every_kind_is_set),
        cmocka_unit_test(words_of_fstab_pass),
        cmocka_unit_test(wrong_words_get_a_sentence),
        cmocka_unit_test(sloppy_skips_unknown_words_only),
        cmocka_unit_test(lists_add_up),
        cmocka_unit_test(sizes),
        cmocka_unit_test(sizes_read_back),
        cmocka_unit_test(libfuse_gets_its_share),
        cmocka_unit_test(labels_reach_the_kernel),
        cmocka_unit_test(directories_have_access_times_of_their_own),
        cmocka_unit_test(help_names_options_and_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
