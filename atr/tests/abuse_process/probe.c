/*
 * The hostile tool. Its first argument says what it tries; it answers with what it found, as JSON.
 * Statically linked, so that it runs where nothing but itself is granted.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char buffer[1 << 16];

static void answer(const char *name, long value) { printf("{\"%s\":%ld}\n", name, value); }

static int is(const char *mode, const char *name) { return strcmp(mode, name) == 0; }

/*
 * `sys CALL...`: system calls one after the other, each as `number,argument,...`. An argument is a number, `'text`, `@` for
 * a zeroed buffer, `@N` for a buffer whose first 8 bytes are N, or `$N` for the result of the N-th call. Answers the
 * results, errors as negative numbers.
 */
static int calls(int count, char **texts) {
    long results[64];
    printf("[");
    for (int i = 0; i < count && i < 64; i++) {
        long args[7] = {0};
        char *text = texts[i];
        memset(buffer, 0, sizeof buffer);
        for (int j = 0; j < 7 && text; j++) {
            char *next = text[0] == '\'' ? NULL : text;
            char *part = strsep(&text, ",");
            if (!next)
                args[j] = (long)(part + 1);
            else if (part[0] == '@') {
                long first = strtol(part + 1, NULL, 0);
                memcpy(buffer, &first, sizeof first);
                args[j] = (long)buffer;
            } else if (part[0] == '$')
                args[j] = results[atoi(part + 1)];
            else
                args[j] = (long)strtoull(part, NULL, 0);
        }
        long result = syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]);
        results[i] = result == -1 ? -errno : result;
        printf("%s%ld", i ? "," : "", results[i]);
        fflush(stdout);
    }
    printf("]\n");
    return 0;
}

/* `read PATH...`: what becomes of reading each: its length, or the error as a negative number. */
static int reads(int count, char **paths) {
    printf("[");
    for (int i = 0; i < count; i++) {
        int fd = open(paths[i], O_RDONLY);
        long got = fd < 0 ? -errno : read(fd, buffer, sizeof buffer);
        if (fd >= 0 && got < 0)
            got = -errno;
        if (fd >= 0)
            close(fd);
        printf("%s%ld", i ? "," : "", got);
    }
    printf("]\n");
    return 0;
}

/* `cat PATH`: its bytes as text, without what would need escaping. */
static int cat(const char *path) {
    int fd = open(path, O_RDONLY);
    long got = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    printf("\"");
    for (long i = 0; i < got; i++) {
        char c = buffer[i] ? buffer[i] : '\n';
        if (c == '\n')
            printf("\\n");
        else if (c >= ' ' && c < 127 && c != '"' && c != '\\')
            putchar(c);
    }
    printf("\"\n");
    return 0;
}

static int environment(void) {
    printf("[");
    for (char **entry = environ; *entry; entry++)
        printf("%s\"%s\"", entry == environ ? "" : ",", *entry);
    printf("]\n");
    return 0;
}

/* `descriptors`: the numbers of all that is open. */
static int descriptors(void) {
    int first = 1;
    printf("[");
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) != -1) {
            printf("%s%d", first ? "" : ",", fd);
            first = 0;
        }
    printf("]\n");
    return 0;
}

/* `forks`: as many as it can have, which go on when it ends. */
static int forks(void) {
    long made = 0;
    for (;;) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (child < 0)
            break;
        made++;
    }
    printf("{\"made\":%ld,\"error\":%d}\n", made, errno);
    return 0;
}

/* `threads`: the same with threads, which are started by clone3 where there is one. */
static void *wait_forever(void *unused) {
    (void)unused;
    for (;;)
        pause();
}

static int threads(void) {
    long made = 0;
    int error;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    while ((error = pthread_create(&thread, &attributes, wait_forever, NULL)) == 0)
        made++;
    printf("{\"made\":%ld,\"error\":%d}\n", made, error);
    fflush(stdout);
    _exit(0);
}

/* `bomb`: everybody forks, leaves its session and ignores what can be ignored, for ever. */
static int bomb(void) {
    for (;;) {
        if (fork() == 0)
            setsid();
        for (int sig = 1; sig < 64; sig++)
            signal(sig, SIG_IGN);
    }
}

static int touch(size_t bytes) {
    const size_t step = 1 << 20;
    for (size_t done = 0; done < bytes; done += step) {
        char *memory = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            printf("{\"touched\":%zu,\"error\":%d}\n", done, errno);
            return 0;
        }
        memset(memory, 1, step);
    }
    answer("touched", bytes);
    return 0;
}

/* `memfd COUNT BYTES`: files without a name, which no limit of address space counts. */
static int memfds(int count, long bytes) {
    long written = 0;
    signal(SIGXFSZ, SIG_IGN);
    memset(buffer, 1, sizeof buffer);
    for (int i = 0; i < count; i++) {
        int fd = memfd_create("m", 0);
        for (long in_file = 0; fd >= 0 && in_file < bytes;) {
            long got = write(fd, buffer, sizeof buffer);
            if (got <= 0) {
                printf("{\"written\":%ld,\"error\":%d}\n", written, errno);
                return 0;
            }
            in_file += got;
            written += got;
        }
    }
    answer("written", written);
    return 0;
}

/* `children COUNT BYTES`: each touches that much, and all hold it at once. */
static int family(int count, size_t bytes) {
    for (int i = 0; i < count; i++)
        if (fork() == 0) {
            touch(bytes);
            for (;;)
                pause();
        }
    int status;
    while (wait(&status) > 0)
        if (WIFSIGNALED(status))
            return 1;
    return 0;
}

/* `fill FOLDER`: one file after the other, until there is no room. */
static int fill(const char *folder) {
    long written = 0, files = 0;
    memset(buffer, 1, sizeof buffer);
    signal(SIGXFSZ, SIG_IGN);
    for (;; files++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%ld", folder, files);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        if (fd < 0)
            break;
        long got;
        while ((got = write(fd, buffer, sizeof buffer)) > 0)
            written += got;
        int error = errno;
        close(fd);
        if (error != EFBIG) {
            errno = error;
            break;
        }
    }
    printf("{\"written\":%ld,\"files\":%ld,\"error\":%d}\n", written, files, errno);
    return 0;
}

/* `entries FOLDER`: empty files until there are too many. */
static int entries(const char *folder) {
    for (long made = 0;; made++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%ld", folder, made);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        if (fd < 0) {
            printf("{\"made\":%ld,\"error\":%d}\n", made, errno);
            return 0;
        }
        close(fd);
    }
}

static int files(void) {
    long opened = 0;
    while (open("/dev/null", O_RDONLY) >= 0)
        opened++;
    printf("{\"opened\":%ld,\"error\":%d}\n", opened, errno);
    return 0;
}

/* `timers` and `pending`: as many as the kernel lets it have, of timers and of signals that wait. */
static int timers(void) {
    long made = 0;
    timer_t timer;
    while (made < 1000000 && timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0)
        made++;
    printf("{\"made\":%ld,\"error\":%d}\n", made, errno);
    return 0;
}

static int pending(void) {
    long made = 0;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    union sigval nothing = {0};
    while (made < 1000000 && sigqueue(getpid(), SIGRTMIN, nothing) == 0)
        made++;
    printf("{\"made\":%ld,\"error\":%d}\n", made, errno);
    return 0;
}

static void spin(void) {
    for (volatile long i = 0;; i++)
        ;
}

/* `spin MILLISECONDS`: computes that long by its own processor time, and says so. */
static int work(long milliseconds) {
    struct timespec used;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds);
    answer("worked", milliseconds);
    return 0;
}

/* `escape`: computes in a grandchild that has left session, group and parent; the parent waits for ever. */
static int escape(void) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            setsid();
            for (int sig = 1; sig < 64; sig++)
                signal(sig, SIG_IGN);
            spin();
        }
        _exit(0);
    }
    wait(NULL);
    for (;;)
        pause();
}

/* `holds`: answers and ends, while a grandchild keeps the streams open. */
static int holds(void) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
    wait(NULL);
    answer("held", 1);
    return 0;
}

/* `once PATH MODE`: leaves a mark in a file, and then does something else. */
static void once(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (write(fd, "ran\n", 4) != 4)
        _exit(98);
    close(fd);
}

static int flood(int fd) {
    memset(buffer, 'x', sizeof buffer);
    for (;;)
        if (write(fd, buffer, sizeof buffer) < 0)
            return 1;
}

/* `kills`: signals to everybody it can think of; answers the errors, then dies of its own last one. */
static int kills(const char *outside) {
    int pids[] = {1, getppid(), atoi(outside)};
    printf("[");
    for (int i = 0; i < 3; i++)
        printf("%s%d", i ? "," : "", kill(pids[i], SIGKILL) ? -errno : 0);
    printf(",%d]\n", kill(-1, SIGKILL) ? -errno : 0);
    return 0;
}

/* `signals`: what it has inherited: blocked, ignored and pending signals. */
static int inherited(void) {
    sigset_t set, pending;
    int blocked = 0, ignored = 0, waiting = 0;
    sigprocmask(SIG_BLOCK, NULL, &set);
    sigpending(&pending);
    for (int sig = 1; sig < 32; sig++) {
        struct sigaction action;
        blocked += sigismember(&set, sig) == 1;
        waiting += sigismember(&pending, sig) == 1;
        ignored += sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
    }
    printf("[%d,%d,%d]\n", blocked, ignored, waiting);
    return 0;
}

/* `limits`: soft and hard limit of each resource. */
static int limits(void) {
    int names[] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE};
    printf("[");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct rlimit limit;
        getrlimit(names[i], &limit);
        printf("%s[%lu,%lu]", i ? "," : "", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
    printf("]\n");
    return 0;
}

/* `name`: looks one up. */
static int name(void) {
    struct addrinfo *found = NULL;
    int error = getaddrinfo("example.com", "80", NULL, &found);
    answer("error", error);
    return 0;
}

/* `i386` and `x32`: getpid by other numbers. */
static int other_numbers(const char *mode) {
    long result = -1;
#ifdef __x86_64__
    if (is(mode, "i386"))
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    else
        result = syscall(0x40000000L + SYS_getpid);
#endif
    answer(mode, result);
    return 0;
}

/* `execute PATH BY_DESCRIPTOR [OTHER]`: a copy of itself there, run, by its other name if it has one. Answers the error of `execve`; the copy says `{"hello":1}`. */
static int execute(const char *path, int by_descriptor, const char *other) {
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_CREAT | O_RDWR | O_TRUNC, 0700);
    long got;
    if (from < 0 || to < 0) {
        printf("{\"copied\":%d}\n", -errno);
        return 0;
    }
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, got) != got)
            return 1;
    close(to);
    to = open(other, O_RDONLY);
    char *argv[] = {"copy", "hello", NULL}, *none[] = {NULL};
    if (by_descriptor)
        syscall(SYS_execveat, to, "", argv, none, AT_EMPTY_PATH);
    else
        execve(other, argv, none);
    answer("execute", -errno);
    return 0;
}

/* `identity`: users, groups and privileges. */
static int identity(void) {
    uid_t r, e, s;
    gid_t groups[64];
    getresuid(&r, &e, &s);
    int extra = getgroups(64, groups);
    long bounding = 0;
    for (int cap = 0; cap < 64; cap++)
        bounding += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
    printf("{\"uids\":[%d,%d,%d],\"gid\":%d,\"groups\":%d,\"bounding\":%ld,\"no_new_privs\":%d}\n", r, e, s, getegid(),
           extra, bounding, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 3 && is(argv[1], "once")) {
        once(argv[2]);
        argc -= 2;
        argv += 2;
    }
    const char *mode = argc > 1 ? argv[1] : "hello";
    char *one = argc > 2 ? argv[2] : "0", *two = argc > 3 ? argv[3] : "0";
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (is(mode, "hello")) answer("hello", 1);
    else if (is(mode, "sys")) return calls(argc - 2, argv + 2);
    else if (is(mode, "read")) return reads(argc - 2, argv + 2);
    else if (is(mode, "cat")) return cat(one);
    else if (is(mode, "environment")) return environment();
    else if (is(mode, "descriptors")) return descriptors();
    else if (is(mode, "forks")) return forks();
    else if (is(mode, "threads")) return threads();
    else if (is(mode, "bomb")) return bomb();
    else if (is(mode, "touch")) return touch(strtoul(one, NULL, 0));
    else if (is(mode, "memfds")) return memfds(atoi(one), atol(two));
    else if (is(mode, "family")) return family(atoi(one), strtoul(two, NULL, 0));
    else if (is(mode, "fill")) return fill(one);
    else if (is(mode, "entries")) return entries(one);
    else if (is(mode, "files")) return files();
    else if (is(mode, "timers")) return timers();
    else if (is(mode, "pending")) return pending();
    else if (is(mode, "spin")) spin();
    else if (is(mode, "spins")) {
        for (int i = 1; i < atoi(one) && fork(); i++)
            ;
        spin();
    } else if (is(mode, "work")) return work(atol(one));
    else if (is(mode, "sleep")) for (;;) pause();
    else if (is(mode, "nap")) {
        struct timespec time = {.tv_nsec = atol(one) * 1000000};
        answer("napped", nanosleep(&time, NULL));
    } else if (is(mode, "escape")) return escape();
    else if (is(mode, "holds")) return holds();
    else if (is(mode, "flood")) return flood(atoi(one));
    else if (is(mode, "kills")) return kills(one);
    else if (is(mode, "signals")) return inherited();
    else if (is(mode, "limits")) return limits();
    else if (is(mode, "name")) return name();
    else if (is(mode, "i386") || is(mode, "x32")) return other_numbers(mode);
    else if (is(mode, "execute")) return execute(one, atoi(two), argc > 4 ? argv[4] : one);
    else if (is(mode, "identity")) return identity();
    else if (is(mode, "stubborn")) {
        for (int sig = 1; sig < 64; sig++)
            signal(sig, SIG_IGN);
        for (;;)
            pause();
    } else if (is(mode, "segfault")) {
        fprintf(stderr, "about to fall\n");
        volatile int *nowhere = NULL;
        *nowhere = 1;
    } else if (is(mode, "exit")) {
        fprintf(stderr, "the reason\n");
        return atoi(one);
    } else if (is(mode, "say")) {
        fputs(one, stdout);
    } else {
        fprintf(stderr, "no such mode: %s\n", mode);
        return 99;
    }
    return 0;
}
