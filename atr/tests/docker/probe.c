/* Tries one thing and says in JSON what came of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int said = 0;
static void say(const char *name, long result) {
    printf("%s\"%s\":%ld", said++ ? "," : "{", name, result < 0 ? -(long)errno : result);
}
static int done(void) { printf("}\n"); fflush(stdout); return 0; }

static int forks(void) {
    long made = 0, error = 0;
    while (made < 2000) {
        pid_t child = fork();
        if (child == 0) for (;;) pause();
        if (child < 0) { error = errno; break; }
        made++;
    }
    say("made", made); say("error", error);
    return done();
}

static int memory(long megabytes) {
    for (long i = 0; i < megabytes; i++) {
        char *block = malloc(1 << 20);
        if (!block) { say("refused_after", i); return done(); }
        memset(block, 1, 1 << 20);
    }
    say("touched", megabytes);
    return done();
}

static int files(void) {
    long opened = 0;
    while (opened < 100000 && open("/dev/null", O_RDONLY) >= 0) opened++;
    say("opened", opened); say("error", errno);
    return done();
}

static int fill(void) {
    static char block[1 << 16];
    int fd = open("/scratch/file", O_CREAT | O_WRONLY, 0600);
    long written = 0, n;
    while ((n = write(fd, block, sizeof block)) > 0) written += n;
    say("written", written); say("error", errno);
    close(fd);
    unlink("/scratch/file");
    long made = 0; char name[64];
    for (; made < 1000000; made++) {
        snprintf(name, sizeof name, "/scratch/%ld", made);
        int one = open(name, O_CREAT | O_WRONLY, 0600);
        if (one < 0) break;
        close(one);
    }
    say("empty_files", made); say("empty_error", errno);
    return done();
}

static int network(int tcp, int udp) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    say("tcp_socket", s < 0 ? -1 : 0);
    to.sin_port = htons(tcp);
    if (s >= 0) say("tcp", connect(s, (void *)&to, sizeof to));
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    say("udp_socket", u < 0 ? -1 : 0);
    to.sin_port = htons(udp);
    if (u >= 0) say("udp", sendto(u, "x", 1, 0, (void *)&to, sizeof to));
    int families[] = {AF_UNIX, AF_INET6, AF_PACKET, AF_NETLINK, AF_BLUETOOTH, 40 /* vsock */, 38 /* alg */};
    for (unsigned i = 0; i < sizeof families / sizeof *families; i++) {
        char name[32];
        snprintf(name, sizeof name, "family_%d", families[i]);
        say(name, socket(families[i], SOCK_DGRAM, 0) < 0 ? -1 : 0);
    }
    int pair[2];
    say("pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    return done();
}

static int child_of(void *unused) { (void)unused; return 0; }

static int calls(void) {
    static char stack[1 << 16];
    struct rlimit most = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    say("mount", mount("none", "/scratch", "tmpfs", 0, ""));
    say("unshare", unshare(CLONE_NEWUSER));
    say("clone_newuser", clone(child_of, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL));
    say("clone", clone(child_of, stack + sizeof stack, SIGCHLD, NULL) < 0 ? -1 : 0);
    say("setns", syscall(SYS_setns, 0, 0));
    say("clone3", syscall(SYS_clone3, NULL, 0));
    say("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
    say("keyctl", syscall(SYS_keyctl, 0, 0, 0));
    say("add_key", syscall(SYS_add_key, "user", "a", "b", 1, -4));
    say("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    say("openat2", syscall(SYS_openat2, -100, "/", NULL, 0));
    say("make_setuid", open("/scratch/setuid", O_CREAT | O_WRONLY, 04755));
    say("chmod_setuid", chmod("/scratch", 04700));
    say("chmod_plain", chmod("/scratch", 0700));
    say("kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
    say("chroot", chroot("/scratch"));
    say("setuid", setuid(0));
    say("personality", syscall(SYS_personality, 0x0040000));
    say("raise_limit", setrlimit(RLIMIT_NOFILE, &most));
    say("mknod", mknod("/scratch/device", S_IFCHR | 0600, 1 << 8 | 3));
    say("ioctl_tiocsti", syscall(SYS_ioctl, 0, 0x5412, "x"));
    return done();
}

static int ids(void) {
    say("uid", getuid()); say("euid", geteuid()); say("egid", getegid());
    return done();
}

static int change(const char *path) {
    struct timeval now[2] = {{0}};
    say("chmod", chmod(path, 0777)); say("chown", chown(path, 65534, 65534)); say("utimes", utimes(path, now));
    say("open", open(path, O_WRONLY)); say("unlink", unlink(path));
    say("mkdir", mkdir("/new", 0777)); say("queue", open("/dev/mqueue/q", O_CREAT | O_RDWR, 0600));
    return done();
}

static int spin(void) { for (volatile unsigned long i = 0;; i++) {} }

static int flood(void) {
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    for (;;) { if (write(1, block, sizeof block) < 0 || write(2, block, sizeof block) < 0) return 9; }
}

static int crash(void) { volatile int *nowhere = 0; return *nowhere; }

static int stubborn(void) {
    signal(SIGTERM, SIG_IGN);
    write(1, "ready\n", 6);
    for (;;) pause();
}

/* A spinner in a session of its own, twice forked; its parents are there still. */
static int family(void) {
    if (fork() == 0) { setsid(); if (fork() == 0) spin(); for (;;) pause(); }
    write(1, "ready\n", 6);
    spin();
    return 0;
}

static int burn(int processes) {
    for (int i = 1; i < processes; i++) if (fork() == 0) spin();
    spin();
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long first = argc > 2 ? atol(argv[2]) : 0, second = argc > 3 ? atol(argv[3]) : 0;
    if (!strcmp(what, "forks")) return forks();
    if (!strcmp(what, "memory")) return memory(first);
    if (!strcmp(what, "files")) return files();
    if (!strcmp(what, "fill")) return fill();
    if (!strcmp(what, "network")) return network(first, second);
    if (!strcmp(what, "calls")) return calls();
    if (!strcmp(what, "ids")) return ids();
    if (!strcmp(what, "change")) return change(argv[2]);
    if (!strcmp(what, "spin")) return spin();
    if (!strcmp(what, "flood")) return flood();
    if (!strcmp(what, "crash")) return crash();
    if (!strcmp(what, "stubborn")) return stubborn();
    if (!strcmp(what, "family")) return family();
    if (!strcmp(what, "burn")) return burn(first);
    if (!strcmp(what, "swapoff")) return syscall(SYS_swapoff, "/none");
    return 2;
}
