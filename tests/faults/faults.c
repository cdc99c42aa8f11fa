/* Makes the n-th call of a kind on files below a folder fail, or end the process.

   Preloaded into a test's process (LD_PRELOAD). Nothing happens before fault_arm is called. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME, OPEN, UNLINK, MMAP, MKDIR, TRUNCATE, READ, KINDS };

static const char *NAMES[KINDS] = {"write",  "fsync", "rename", "open",
                                   "unlink", "mmap",  "mkdir",  "truncate", "read"};

/* What happens instead of the call; anything above 0 is an errno. */
enum { GOES_ON = 0, SHORT = -1, KILLED = -2, TORN = -3 };

static char folder[PATH_MAX]; /* empty while nothing is armed */
static int armed_kind, armed_action, armed_lasting;
static long armed_at, hits, counts[KINDS];
static char trace[1 << 18]; /* a line for each counted call: its kind and its path */
static size_t trace_size;

/* lasting: every later call fails as well, as on a disk that stays full. */
void fault_arm(const char *below, int kind, long at, int action, int lasting)
{
    memset(counts, 0, sizeof counts);
    hits = trace_size = 0;
    trace[0] = 0;
    armed_kind = kind, armed_at = at, armed_action = action, armed_lasting = lasting;
    snprintf(folder, sizeof folder, "%s", below);
}

long fault_hits(void) { return hits; }
const char *fault_trace(void) { return trace; }

static void fd_path(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
}

static void whole_path(int directory, const char *name, char *path)
{
    char parent[PATH_MAX];
    path[0] = 0;
    if (!name || name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name ? name : "");
        return;
    }
    if (directory != AT_FDCWD)
        fd_path(directory, parent);
    else if (!getcwd(parent, sizeof parent))
        return;
    if (strlen(parent) + strlen(name) + 2 < PATH_MAX)
        strcat(strcat(strcpy(path, parent), "/"), name);
}

static int decide(int kind, const char *path)
{
    size_t length = strlen(folder);
    if (strncmp(path, folder, length) || (path[length] && path[length] != '/'))
        return GOES_ON;
    long number = __sync_add_and_fetch(&counts[kind], 1);
    size_t size = strlen(path) + 16;
    if (trace_size + size < sizeof trace)
        trace_size += sprintf(trace + trace_size, "%s %s\n", NAMES[kind], path + length);
    if (kind != armed_kind || number < armed_at || (number > armed_at && !armed_lasting))
        return GOES_ON;
    hits++;
    if (armed_action == KILLED)
        kill(getpid(), SIGKILL);
    return armed_action;
}

static int at_path(int kind, int directory, const char *name)
{
    char path[PATH_MAX];
    int before = errno;
    if (!folder[0])
        return GOES_ON;
    whole_path(directory, name, path);
    int action = decide(kind, path);
    errno = before;
    return action;
}

static int at_fd(int kind, int fd)
{
    char path[PATH_MAX];
    int before = errno;
    if (!folder[0] || fd < 0)
        return GOES_ON;
    fd_path(fd, path);
    int action = decide(kind, path);
    errno = before;
    return action;
}

#define REAL(name, type, ...)                                          \
    static type (*real)(__VA_ARGS__);                                  \
    if (!real)                                                         \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);
#define FAIL_WITH(action, value) \
    if (action > 0) {            \
        errno = action;          \
        return value;            \
    }

/* The part of `size` bytes that is to be written, or -1 where errno says why none is. */
static ssize_t part(int fd, size_t size)
{
    int action = at_fd(WRITE, fd);
    if (action == SHORT || action == TORN) {
        if (hits > 1 || size < 2) {
            errno = ENOSPC;
            return -1;
        }
        return size / 2;
    }
    FAIL_WITH(action, -1)
    return size;
}

static ssize_t written(ssize_t size)
{
    if (armed_action == TORN && hits)
        kill(getpid(), SIGKILL);
    return size;
}

ssize_t write(int fd, const void *from, size_t size)
{
    REAL("write", ssize_t, int, const void *, size_t)
    ssize_t some = part(fd, size);
    return some < 0 ? -1 : written(real(fd, from, some));
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t offset)
{
    REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t)
    ssize_t some = part(fd, size);
    return some < 0 ? -1 : written(real(fd, from, some, offset));
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t offset)
{
    return pwrite64(fd, from, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL("writev", ssize_t, int, const struct iovec *, int)
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    ssize_t some = part(fd, size);
    if (some < 0)
        return -1;
    if ((size_t)some < size) {
        struct iovec first = parts[0];
        first.iov_len = (size_t)some < first.iov_len ? (size_t)some : first.iov_len;
        return written(real(fd, &first, 1));
    }
    return real(fd, parts, count);
}

int fsync(int fd)
{
    REAL("fsync", int, int)
    int action = at_fd(FSYNC, fd);
    FAIL_WITH(action, -1)
    return real(fd);
}

int fdatasync(int fd) { return fsync(fd); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    REAL("renameat2", int, int, const char *, int, const char *, unsigned)
    int action = at_path(RENAME, to_folder, to);
    FAIL_WITH(action, -1)
    return real(from_folder, from, to_folder, to, flags);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* OPEN is to write; READ is to open a file, or list a folder, without writing. */
static int kind_of(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT ? OPEN : READ;
}

int openat64(int directory, const char *name, int flags, ...)
{
    REAL("openat64", int, int, const char *, int, ...)
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    int action = at_path(kind_of(flags), directory, name);
    FAIL_WITH(action, -1)
    return real(directory, name, flags, mode);
}

#define MODE_OF(flags)                    \
    mode_t mode = 0;                      \
    if (flags & (O_CREAT | O_TMPFILE)) {  \
        va_list rest;                     \
        va_start(rest, flags);            \
        mode = va_arg(rest, mode_t);      \
        va_end(rest);                     \
    }

int openat(int directory, const char *name, int flags, ...)
{
    MODE_OF(flags)
    return openat64(directory, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    MODE_OF(flags)
    return openat64(AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    MODE_OF(flags)
    return openat64(AT_FDCWD, name, flags, mode);
}

FILE *fopen64(const char *name, const char *mode)
{
    REAL("fopen64", FILE *, const char *, const char *)
    int action = at_path(strpbrk(mode, "wa+") ? OPEN : READ, AT_FDCWD, name);
    FAIL_WITH(action, NULL)
    return real(name, mode);
}

FILE *fopen(const char *name, const char *mode) { return fopen64(name, mode); }

int unlinkat(int directory, const char *name, int flags)
{
    REAL("unlinkat", int, int, const char *, int)
    int action = at_path(UNLINK, directory, name);
    FAIL_WITH(action, -1)
    return real(directory, name, flags);
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
    REAL("mmap64", void *, void *, size_t, int, int, int, off64_t)
    int action = flags & MAP_ANONYMOUS ? GOES_ON : at_fd(MMAP, fd);
    FAIL_WITH(action, MAP_FAILED)
    return real(address, size, protection, flags, fd, offset);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return mmap64(address, size, protection, flags, fd, offset);
}

int mkdirat(int directory, const char *name, mode_t mode)
{
    REAL("mkdirat", int, int, const char *, mode_t)
    int action = at_path(MKDIR, directory, name);
    FAIL_WITH(action, -1)
    return real(directory, name, mode);
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int ftruncate64(int fd, off64_t size)
{
    REAL("ftruncate64", int, int, off64_t)
    int action = at_fd(TRUNCATE, fd);
    FAIL_WITH(action, -1)
    return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
