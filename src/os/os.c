#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    int rc = clock_gettime(id, &t);
    assert(rc == 0);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t os_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t now_of(void *arg) {
    (void)arg;
    return os_now_ns();
}

const struct clock os_clock = {now_of, NULL};

int64_t os_wall_us(void) {
    return read_clock(CLOCK_REALTIME) / NS_PER_US;
}

static char *put_digits(char *at, int value, int n) {
    for (int i = n; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + n;
}

void os_format_time(int64_t wall_us, char *out) {
    /* The calendar is asked once a second and thread. */
    static _Thread_local time_t last;
    static _Thread_local struct tm tm;
    time_t s = (time_t)(wall_us / 1000000);
    if (s != last || tm.tm_year == 0) {
        gmtime_r(&s, &tm);
        last = s;
    }
    out = put_digits(out, tm.tm_year + 1900, 4);
    *out++ = '-';
    out = put_digits(out, tm.tm_mon + 1, 2);
    *out++ = '-';
    out = put_digits(out, tm.tm_mday, 2);
    *out++ = 'T';
    out = put_digits(out, tm.tm_hour, 2);
    *out++ = ':';
    out = put_digits(out, tm.tm_min, 2);
    *out++ = ':';
    out = put_digits(out, tm.tm_sec, 2);
    *out++ = '.';
    out = put_digits(out, (int)(wall_us / 1000 % 1000), 3);
    *out++ = 'Z';
    *out = '\0';
}

void os_random(void *out, size_t n) {
    unsigned char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        assert(got > 0 || errno == EINTR);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}

struct siphash_key os_random_key(void) {
    struct siphash_key key;
    os_random(&key, sizeof key);
    return key;
}

static enum status failed(struct problem *why, const char *path, const char *what) {
    assert(path);
    return problem_set(why, ST_IO_FAILED, str_of(path), "cannot %s %s: %s", what, path,
                       strerror(errno));
}

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

enum status os_read_file(const char *path, struct buf *out, size_t slack, struct problem *why) {
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failed(why, path, "open");
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return failed(why, path, "read");
    }
    for (;;) {
        enum { STEP = 16384 };
        size_t room = size_min(STEP, out->ceiling - out->len);
        if (room == 0)
            return problem_set(why, ST_TOO_LARGE, str_of(path), "%s is larger than %zu bytes", path,
                               out->ceiling);
        char *at = buf_reserve_slack(out, room, slack);
        ssize_t got = read(fd, at, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(why, path, "read");
        if (got == 0)
            return ST_OK;
        buf_commit(out, (size_t)got);
    }
}

static bool write_all(int fd, struct str s) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = str_skip(s, (size_t)n);
    }
    return true;
}

enum status os_replace_file(const char *path, struct str content, struct problem *why) {
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return failed(why, path, "write");
    }
    CLEANUP(close_fd) int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || !write_all(fd, content) || fsync(fd) != 0 || rename(temporary, path) != 0)
        return failed(why, path, "write");
    /* The new name is an entry of the folder, which has to reach the disk by itself. */
    char *slash = strrchr(temporary, '/');
    const char *folder = slash == temporary ? "/" : slash ? temporary : ".";
    if (slash)
        *slash = '\0';
    CLEANUP(close_fd) int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0 || fsync(folder_fd) != 0)
        return failed(why, path, "write");
    return ST_OK;
}

enum status os_make_folder(const char *path, struct problem *why) {
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) {
        errno = n ? ENAMETOOLONG : ENOENT;
        return failed(why, path, "make folder");
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return failed(why, part, "make folder");
        part[i] = kept;
    }
    return os_is_folder(path) ? ST_OK : failed(why, path, "make folder");
}

bool os_is_folder(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void close_dir(DIR **d) {
    if (*d)
        closedir(*d);
}

enum status os_list_folder(const char *path, struct str suffix, struct os_paths *out,
                           struct problem *why) {
    *out = (struct os_paths){0};
    CLEANUP(close_dir) DIR *d = opendir(path);
    if (!d)
        return failed(why, path, "list");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' || !str_ends(str_of(e->d_name), suffix))
            continue;
        size_t size = strlen(path) + strlen(e->d_name) + 2;
        char *name = xmalloc(size);
        snprintf(name, size, "%s/%s", path, e->d_name);
        out->path = xrealloc(out->path, (out->count + 1) * sizeof *out->path);
        out->path[out->count++] = name;
    }
    if (out->count)
        qsort(out->path, out->count, sizeof *out->path, by_name);
    return ST_OK;
}

void os_free_paths(struct os_paths *paths) {
    for (size_t i = 0; i < paths->count; i++)
        free(paths->path[i]);
    free(paths->path);
    *paths = (struct os_paths){0};
}

int os_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (int)i64_max(1, CPU_COUNT(&set));
}

/* sched_setattr(2), of which glibc has the number alone, and Linux's own header fights with <sched.h>. */
struct turns {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns, deadline_ns, period_ns;
};

/* What can be refused here is a favour to other threads: without it all goes on, a little later. */
static void set_turns(uint32_t policy, uint64_t slice_ns) {
    int now = sched_getscheduler(0);
    if (now != SCHED_OTHER && now != SCHED_BATCH)
        return; /* somebody has decided otherwise for the whole process */
    struct turns t = {.size = sizeof t,
                      .policy = policy,
                      .nice = getpriority(PRIO_PROCESS, (id_t)gettid()),
                      .slice_ns = slice_ns};
    (void)syscall(SYS_sched_setattr, 0, &t, 0);
}

void os_thread_take_short_turns(void) {
    /* Linux takes no shorter one (__setparam_fair in kernel/sched/syscalls.c). */
    set_turns(SCHED_OTHER, 100000);
}

void os_thread_give_way(int steps) {
    static _Thread_local int given;
    if (steps <= given)
        return;
    /* On Linux a nice value is a thread's own. To rise never fails. */
    id_t self = (id_t)gettid();
    (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + steps - given);
    set_turns(SCHED_BATCH, 0);
    given = steps;
}

int64_t os_raise_file_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1024;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
    (void)getrlimit(RLIMIT_NOFILE, &r);
    /* RLIM_INFINITY is the largest of an unsigned type. */
    return r.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)r.rlim_cur;
}
