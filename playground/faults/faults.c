/*
 * Clock and disk faults for one server process, by LD_PRELOAD.
 *
 * The playground compiles this file and starts its servers with it when it was started with `--faults`. The library
 * stands between a server and libc: it answers `clock_gettime` and its kin with a clock that is wrong, and file calls
 * below the server's data directory with a disk that is slow, broken or full. What it does at the moment is written in
 * a small file that both sides share; nothing in the server knows of it.
 *
 *   server (Rust) ── clock_gettime, write, fdatasync, ... ──> this library ──> libc ──> kernel
 *                                                                 ^
 *              playground (src/faults)    ── pwrite ──> control file, mapped here
 *
 * Environment:
 *   MERIDIAN_FAULTS       the control file, which must exist before the server does
 *   MERIDIAN_FAULTS_DIR   the data directory, absolute and free of symbolic links; without it the disk is never faulty
 * Without a control file that it knows, the library says so once on stderr and passes everything through.
 *
 * The control file: 512 bytes, numbers in the machine's own byte order. src/faults/control_file.rs knows the same layout.
 *
 *   at   size  what
 *     0     8  magic, "MDNFAULT"
 *     8     4  version of this layout, 1
 *    12     4  size of the file, 512
 *    16     8  generation: how often the settings have changed; those in force are in slot `generation % 2`
 *    64    64  slot 0   } settings, as `struct settings` has them: 48 bytes and padding
 *   128    64  slot 1   }
 *   256     8  calls that asked for the time                                 } counted here, and only ever more;
 *   320     8  writes to files below the data directory: write and its kin,  } a server that is started again
 *              fallocate, ftruncate                                          } counts on
 *   328     8  syncs of files and directories below the data directory       }
 *   336     8  faults done to such a write or sync                           }
 *   344     8  processes that have loaded the library                        }
 *
 * Invariants:
 *   - Settings are taken whole. Only the playground writes them, first into the slot that is not in force, then the
 *     generation. Who reads looks at the generation before and after and reads again when it has changed, so nobody
 *     ever waits for a writer, not even for one that was killed half-way.
 *   - The monotonic clocks never step and never go back, whatever is set. A drift bends them at an instant that lies
 *     ahead when it is written (`drift_base_ns`), so everyone bends at the same one, and the deviation that has
 *     gathered until then is carried on (`monotonic_skew_ns`), also when the drift ends.
 *   - Nothing but regular files and directories below the data directory is ever hurt: no socket, no pipe, no log.
 *   - A call to which a fault is done has no effect; there are no half writes.
 *
 * The clocks. CLOCK_REALTIME and all that show it (its coarse form, time, gettimeofday, timespec_get) may be off by a
 * jump and by a drift; the monotonic ones and CLOCK_BOOTTIME only by the drift. Clocks of CPU time are left alone.
 * Absolute deadlines that a server has computed from such a clock (a futex's, which is what std's and parking_lot's
 * locks wait with, and clock_nanosleep's) are handed to the kernel in its own time.
 *
 * The disk. `slow` makes every sync take that much longer, and leaves writes alone: they go to the page cache. `fail`
 * answers writes and syncs with EIO, `full` answers writes with ENOSPC; reads go on.
 *
 * Not here: writes by mmap, FILE* and io_uring, or by system calls that don't go through libc; names (open, rename,
 * unlink never fail); relative waits, which last what the machine's own clock says; more than 64 Ki files at once.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- The control file --------------------------------------------------------------------------------------- */

enum { VERSION = 1 };
enum disk { DISK_NONE = 0, DISK_SLOW = 1, DISK_FAIL = 2, DISK_FULL = 3 };

struct settings {
    /* What CLOCK_REALTIME and its kin are ahead at `drift_base_ns`: all jumps, and what drifts have gathered. */
    int64_t wall_offset_ns;
    /* What the monotonic clocks are ahead then. */
    int64_t monotonic_skew_ns;
    /* When, by the true CLOCK_MONOTONIC, `drift_ppm` takes over from `drift_before_ppm`. */
    int64_t drift_base_ns;
    /* How many microseconds the clocks gain in a second; never as low as -1000000. */
    int32_t drift_before_ppm;
    int32_t drift_ppm;
    uint32_t disk;
    uint32_t unused;
    /* How much longer a sync takes while `disk` is DISK_SLOW. */
    int64_t slow_ns;
};

struct control {
    char magic[8];
    uint32_t version;
    uint32_t size;
    _Atomic uint64_t generation;
    char pad0[40];
    union {
        struct settings settings;
        char size[64];
    } slot[2];
    char pad1[64];
    /* Each on a cache line of its own, away from the settings: every thread of a server counts clock calls. */
    _Atomic uint64_t clock_calls;
    char pad2[56];
    _Atomic uint64_t writes;
    _Atomic uint64_t syncs;
    _Atomic uint64_t injected;
    _Atomic uint64_t loads;
    char pad3[160];
};

_Static_assert(sizeof(struct settings) == 48, "the layout above");
_Static_assert(offsetof(struct control, slot) == 64, "the layout above");
_Static_assert(offsetof(struct control, clock_calls) == 256, "the layout above");
_Static_assert(offsetof(struct control, writes) == 320, "the layout above");
_Static_assert(sizeof(struct control) == 512, "the layout above");

/* Null until the control file is mapped, and for good where there is none: then everything passes through. */
static struct control *control;
/* The data directory without a slash at its end; empty where none was named. */
static char data_dir[4096];
static size_t data_dir_len;

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The settings in force. `control` is not null. */
static struct settings settings_now(void) {
    for (;;) {
        uint64_t generation = atomic_load_explicit(&control->generation, memory_order_acquire);
        const volatile struct settings *slot = &control->slot[generation % 2].settings;
        struct settings s = *slot;
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&control->generation, memory_order_relaxed) == generation)
            return s;
    }
}

/* ---- What is behind us -------------------------------------------------------------------------------------- */

/* `NEXT(f)` is libc's own `f`, looked up at its first use: other libraries may call before our constructor runs. */
#define NEXT(f)                                                                                                        \
    ({                                                                                                                 \
        static _Atomic(__typeof__(&f)) known;                                                                          \
        __typeof__(&f) next = atomic_load_explicit(&known, memory_order_relaxed);                                      \
        if (__builtin_expect(next == NULL, 0)) {                                                                       \
            next = (__typeof__(&f))dlsym(RTLD_NEXT, #f);                                                               \
            atomic_store_explicit(&known, next, memory_order_relaxed);                                                 \
        }                                                                                                              \
        next;                                                                                                          \
    })

static void complain(const char *path, const char *why) {
    dprintf(STDERR_FILENO, "libfaults: %s: %s; no faults can be made in this process\n", path, why);
}

__attribute__((constructor)) static void load(void) {
    const char *dir = getenv("MERIDIAN_FAULTS_DIR");
    if (dir != NULL && dir[0] == '/' && strlen(dir) < sizeof data_dir) {
        data_dir_len = strlen(dir);
        while (data_dir_len > 1 && dir[data_dir_len - 1] == '/')
            data_dir_len--;
        memcpy(data_dir, dir, data_dir_len);
    }
    const char *path = getenv("MERIDIAN_FAULTS");
    if (path == NULL)
        return complain("MERIDIAN_FAULTS", "is not set");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return complain(path, strerror(errno));
    struct stat st;
    struct control *mapped = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof(struct control))
        mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEXT(close)(fd);
    if (mapped == MAP_FAILED)
        return complain(path, "is not a control file of 512 bytes");
    if (memcmp(mapped->magic, "MDNFAULT", 8) != 0 || mapped->version != VERSION || mapped->size != sizeof *mapped) {
        munmap(mapped, sizeof *mapped);
        return complain(path, "is not a control file of this version");
    }
    count(&mapped->loads);
    control = mapped;
}

/* ---- Clocks ------------------------------------------------------------------------------------------------- */

enum { SECOND_NS = 1000000000 };
enum kind { WALL, MONOTONIC, OTHER };

static enum kind kind_of(clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return WALL;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        return MONOTONIC;
    default:
        return OTHER;
    }
}

static int64_t to_ns(const struct timespec *ts) {
    return (int64_t)ts->tv_sec * SECOND_NS + ts->tv_nsec;
}

static struct timespec from_ns(int64_t ns) {
    int64_t seconds = ns / SECOND_NS, rest = ns % SECOND_NS;
    if (rest < 0) {
        seconds--;
        rest += SECOND_NS;
    }
    return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

static int32_t ppm_at(const struct settings *s, int64_t monotonic_ns) {
    return monotonic_ns < s->drift_base_ns ? s->drift_before_ppm : s->drift_ppm;
}

/* What the drift has gathered at that instant of the true CLOCK_MONOTONIC, counted from its base. */
static int64_t drifted_ns(const struct settings *s, int64_t monotonic_ns) {
    return (int64_t)((__int128)(monotonic_ns - s->drift_base_ns) * ppm_at(s, monotonic_ns) / 1000000);
}

static bool drifts(const struct settings *s) {
    return (s->drift_before_ppm | s->drift_ppm) != 0;
}

/* How far ahead a clock of that kind is that shows `shown_ns` in truth. */
static int64_t ahead_ns(const struct settings *s, enum kind kind, clockid_t clock, int64_t shown_ns) {
    int64_t ahead = kind == WALL ? s->wall_offset_ns : s->monotonic_skew_ns;
    if (!drifts(s))
        return ahead;
    /* One reading gives both the time and its deviation where that can be, or a thread that is preempted between two
     * of them could see the clock go back. CLOCK_BOOTTIME and the raw clock are that little less strict. */
    if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)
        return ahead + drifted_ns(s, shown_ns);
    struct timespec monotonic;
    NEXT(clock_gettime)(CLOCK_MONOTONIC, &monotonic);
    return ahead + drifted_ns(s, to_ns(&monotonic));
}

/* How far ahead the wall clock is now, for those that ask for it in another form. Counts the call. */
static int64_t wall_ahead_ns(void) {
    if (control == NULL)
        return 0;
    count(&control->clock_calls);
    struct settings s = settings_now();
    return ahead_ns(&s, WALL, CLOCK_REALTIME, 0);
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    int result = NEXT(clock_gettime)(clock, ts);
    if (control == NULL || result != 0)
        return result;
    count(&control->clock_calls);
    enum kind kind = kind_of(clock);
    if (kind == OTHER)
        return result;
    struct settings s = settings_now();
    int64_t shown = to_ns(ts), ahead = ahead_ns(&s, kind, clock, shown);
    if (ahead != 0)
        *ts = from_ns(shown + ahead);
    return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    int result = NEXT(gettimeofday)(tv, zone);
    int64_t ahead = wall_ahead_ns();
    if (ahead != 0 && result == 0) {
        struct timespec ts = from_ns((int64_t)tv->tv_sec * SECOND_NS + tv->tv_usec * 1000 + ahead);
        tv->tv_sec = ts.tv_sec;
        tv->tv_usec = ts.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec ts;
    NEXT(clock_gettime)(CLOCK_REALTIME_COARSE, &ts);
    time_t now = from_ns(to_ns(&ts) + wall_ahead_ns()).tv_sec;
    if (out != NULL)
        *out = now;
    return now;
}

int timespec_get(struct timespec *ts, int base) {
    int result = NEXT(timespec_get)(ts, base);
    int64_t ahead = wall_ahead_ns();
    if (ahead != 0 && result == TIME_UTC)
        *ts = from_ns(to_ns(ts) + ahead);
    return result;
}

/*
 * The instant at which the kernel's clock shows what `clock` will show here at `deadline`. Returns where the caller
 * finds it: in `room`, or `deadline` itself when that clock is right.
 */
static const struct timespec *true_deadline(clockid_t clock, const struct timespec *deadline, struct timespec *room) {
    enum kind kind = kind_of(clock);
    if (control == NULL || deadline == NULL || kind == OTHER)
        return deadline;
    struct settings s = settings_now();
    struct timespec now, monotonic;
    NEXT(clock_gettime)(clock, &now);
    int64_t shown = to_ns(&now), ahead = ahead_ns(&s, kind, clock, shown);
    if (ahead == 0 && !drifts(&s))
        return deadline;
    NEXT(clock_gettime)(CLOCK_MONOTONIC, &monotonic);
    __int128 left = (__int128)deadline->tv_sec * SECOND_NS + deadline->tv_nsec - (shown + ahead);
    __int128 at = shown + left * 1000000 / (1000000 + ppm_at(&s, to_ns(&monotonic)));
    /* Forever is what a deadline of centuries means, and the kernel takes none before its clock's beginning. */
    *room = from_ns(at < 0 ? 0 : at > INT64_MAX ? INT64_MAX : (int64_t)at);
    return room;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *remain) {
    struct timespec room;
    if (flags & TIMER_ABSTIME)
        request = true_deadline(clock, request, &room);
    return NEXT(clock_nanosleep)(clock, flags, request, remain);
}

/* Rust's locks, condition variables and parked threads wait by this call, whose deadline is absolute. */
long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    struct timespec room;
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET) {
        clockid_t clock = a[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        a[3] = (long)true_deadline(clock, (const struct timespec *)a[3], &room);
    }
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- The disk ----------------------------------------------------------------------------------------------- */

/*
 * Whether an open file is below the data directory, by its number: 0 unknown, else `1 + inside`. Forgotten when the
 * number is closed. A number that was closed behind our back (fclose) may be remembered wrongly, which costs a count;
 * before a fault is done we look again.
 */
static _Atomic unsigned char known_files[1 << 16];

static bool look_where(int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return false;
    char link[32], path[sizeof data_dir + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path);
    return len >= (ssize_t)data_dir_len && memcmp(path, data_dir, data_dir_len) == 0
        && (len == (ssize_t)data_dir_len || path[data_dir_len] == '/');
}

static bool is_inside(int fd) {
    if (data_dir_len == 0 || fd < 0 || fd >= (int)sizeof known_files)
        return false;
    unsigned char known = atomic_load_explicit(&known_files[fd], memory_order_relaxed);
    if (known == 0) {
        int saved = errno;
        known = 1 + look_where(fd);
        errno = saved;
        atomic_store_explicit(&known_files[fd], known, memory_order_relaxed);
    }
    return known == 2;
}

static void forget(unsigned first, unsigned last) {
    for (unsigned fd = first; fd <= last && fd < sizeof known_files; fd++)
        atomic_store_explicit(&known_files[fd], 0, memory_order_relaxed);
}

int close(int fd) {
    forget(fd, fd);
    return NEXT(close)(fd);
}

int dup2(int from, int to) {
    forget(to, to);
    return NEXT(dup2)(from, to);
}

int dup3(int from, int to, int flags) {
    forget(to, to);
    return NEXT(dup3)(from, to, flags);
}

int close_range(unsigned first, unsigned last, int flags) {
    forget(first, last);
    return NEXT(close_range)(first, last, flags);
}

/* Done to this file, if it is the one that it was when we last looked. */
static bool hurts(int fd) {
    int saved = errno;
    bool inside = look_where(fd);
    errno = saved;
    if (inside)
        count(&control->injected);
    else
        atomic_store_explicit(&known_files[fd], 1, memory_order_relaxed);
    return inside;
}

/* Counts a write. Returns the errno that it shall fail with, or 0. */
static int fault_of_write(int fd, bool grows) {
    if (control == NULL || !is_inside(fd))
        return 0;
    count(&control->writes);
    struct settings s = settings_now();
    int fault = s.disk == DISK_FAIL ? EIO : s.disk == DISK_FULL && grows ? ENOSPC : 0;
    return fault != 0 && hurts(fd) ? fault : 0;
}

/* Counts a sync, and lasts as long as the disk is slow. Returns the errno that the sync shall fail with, or 0. */
static int fault_of_sync(int fd) {
    if (control == NULL || !is_inside(fd))
        return 0;
    count(&control->syncs);
    struct settings s = settings_now();
    if (s.disk == DISK_FAIL)
        return hurts(fd) ? EIO : 0;
    if (s.disk != DISK_SLOW || !hurts(fd))
        return 0;
    /* In short sleeps, so that a disk that heals, or breaks, does so at once. */
    struct timespec now;
    NEXT(clock_gettime)(CLOCK_MONOTONIC, &now);
    int64_t begin = to_ns(&now), left;
    while ((left = begin + s.slow_ns - to_ns(&now)) > 0 && s.disk == DISK_SLOW) {
        struct timespec nap = from_ns(left < SECOND_NS / 20 ? left : SECOND_NS / 20);
        NEXT(clock_nanosleep)(CLOCK_MONOTONIC, 0, &nap, NULL);
        NEXT(clock_gettime)(CLOCK_MONOTONIC, &now);
        s = settings_now();
    }
    return s.disk == DISK_FAIL ? EIO : 0;
}

/* The body of a call that returns -1 and errno when it fails. */
#define PASS_UNLESS(fault, call)                                                                                       \
    do {                                                                                                               \
        int failed = (fault);                                                                                          \
        if (failed != 0) {                                                                                             \
            errno = failed;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        return (call);                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *buf, size_t n) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(write)(fd, buf, n));
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwrite)(fd, buf, n, at));
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwrite64)(fd, buf, n, at));
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(writev)(fd, parts, n));
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwritev)(fd, parts, n, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwritev64)(fd, parts, n, at));
}

ssize_t pwritev2(int fd, const struct iovec *parts, int n, off_t at, int flags) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwritev2)(fd, parts, n, at, flags));
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int n, off64_t at, int flags) {
    PASS_UNLESS(fault_of_write(fd, true), NEXT(pwritev64v2)(fd, parts, n, at, flags));
}

/* What std::fs::copy uses. */
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags) {
    PASS_UNLESS(fault_of_write(to, true), NEXT(copy_file_range)(from, from_at, to, to_at, n, flags));
}

/* A call of fallocate that frees a part of a file needs no room, nor does a file that is longer only by name. */
int fallocate(int fd, int mode, off_t at, off_t n) {
    bool grows = !(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE));
    PASS_UNLESS(fault_of_write(fd, grows), NEXT(fallocate)(fd, mode, at, n));
}

int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    bool grows = !(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE));
    PASS_UNLESS(fault_of_write(fd, grows), NEXT(fallocate64)(fd, mode, at, n));
}

/* These two return the error. */
int posix_fallocate(int fd, off_t at, off_t n) {
    int failed = fault_of_write(fd, true);
    return failed != 0 ? failed : NEXT(posix_fallocate)(fd, at, n);
}

int posix_fallocate64(int fd, off64_t at, off64_t n) {
    int failed = fault_of_write(fd, true);
    return failed != 0 ? failed : NEXT(posix_fallocate64)(fd, at, n);
}

int ftruncate(int fd, off_t n) {
    PASS_UNLESS(fault_of_write(fd, false), NEXT(ftruncate)(fd, n));
}

int ftruncate64(int fd, off64_t n) {
    PASS_UNLESS(fault_of_write(fd, false), NEXT(ftruncate64)(fd, n));
}

int fsync(int fd) {
    PASS_UNLESS(fault_of_sync(fd), NEXT(fsync)(fd));
}

int fdatasync(int fd) {
    PASS_UNLESS(fault_of_sync(fd), NEXT(fdatasync)(fd));
}

int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) {
    PASS_UNLESS(fault_of_sync(fd), NEXT(sync_file_range)(fd, at, n, flags));
}

int syncfs(int fd) {
    PASS_UNLESS(fault_of_sync(fd), NEXT(syncfs)(fd));
}
