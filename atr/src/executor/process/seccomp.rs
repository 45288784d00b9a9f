//! The system calls that a confined program can make. What is not named here fails with `EPERM`.
//!
//! The kernel takes the strictest answer of several programs, so each of the three below says one thing:
//! what ends the program, what does not exist, what is allowed.

use std::collections::BTreeMap;

use libc::{c_long, sock_filter};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// The programs, to be loaded in this order: only the last one forbids to load another.
///
/// # Errors
/// There is no list for this processor.
pub(crate) fn programs() -> Result<[Vec<sock_filter>; 3], String> {
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let mut loud = compile(always(LOUD), SeccompAction::Allow, SeccompAction::KillProcess)?;
    loud.splice(0..0, from(X32, libc::SECCOMP_RET_KILL_PROCESS));
    let mut absent = compile(always(ABSENT), SeccompAction::Allow, errno(libc::ENOSYS))?;
    absent.splice(0..0, from(NEWER, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()));
    let mut allowed = conditional()?;
    // What another program answers for must not be answered here too.
    allowed.extend([ALLOWED, ALLOWED_HERE, ABSENT].into_iter().flat_map(always));
    let mut allowed = compile(allowed, errno(libc::EPERM), SeccompAction::Allow)?;
    allowed.splice(0..0, from(NEWER, libc::SECCOMP_RET_ALLOW));
    Ok([loud, absent, allowed])
}

/// Whether the kernel filters system calls, and can answer in the ways that the programs do.
pub(crate) fn is_there() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|actions| {
        ["kill_process", "errno", "allow"]
            .iter()
            .all(|action| actions.split_whitespace().any(|one| one == *action))
    })
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<Vec<sock_filter>, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|error| error.to_string())?;
    // It ends whoever calls the kernel by the table of another processor, such as `int 0x80` on x86-64.
    let program = BpfProgram::try_from(filter).map_err(|error| error.to_string())?;
    Ok(program.iter().map(|op| sock_filter { code: op.code, jt: op.jt, jf: op.jf, k: op.k }).collect())
}

fn always(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// The x32 numbers: the same processor, but a second way to name each system call.
const X32: u32 = 0x4000_0000;
/// What is numbered from here on is newer than the lists below, on every processor. It does not exist: C libraries try
/// what is new and fall back only if told so.
const NEWER: u32 = 463;

/// Decides all calls numbered `first` or above.
fn from(first: u32, verdict: u32) -> [sock_filter; 3] {
    let (load, compare) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
    let answer = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    [step(load, 0, 0), step(compare, 1, first), step(answer, 0, verdict)]
}

/// Calls that depend on their arguments. Pointers are never followed, so none is judged by what it points to.
fn conditional() -> Result<Rules, String> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let is = |arg, value: u64| when(&[(arg, Dword, Eq, value)]);
    let without = |arg, bits: u64| when(&[(arg, Dword, MaskedEq(bits), 0)]);
    let one_of =
        |arg, values: &[u64]| values.iter().map(|value| is(arg, *value)).collect::<Result<Vec<_>, _>>();
    // Urgent data of Unix sockets has no use here and a history of holes.
    let in_band = |arg| without(arg, libc::MSG_OOB.unsigned_abs().into());
    // A file in a granted folder belongs to the host's user, so no other user of the host may be let run it as that one.
    let plain = |arg| without(arg, SET_ID);
    let creating = |flags| Ok::<_, String>(vec![without(flags, CREATING)?, plain(flags + 1)?]);
    let new_namespaces = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET)
        .cast_unsigned()
        .into();
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "nothing is added there"))]
    let mut rules = BTreeMap::from([
        (libc::SYS_clone, vec![when(&[(0, Qword, MaskedEq(new_namespaces), 0)])?]),
        (libc::SYS_ioctl, one_of(1, &IOCTLS)?),
        (libc::SYS_prctl, one_of(0, &PRCTLS)?),
        (libc::SYS_prlimit64, vec![when(&[(0, Dword, Eq, 0), (2, Qword, Eq, 0)])?]),
        (libc::SYS_personality, one_of(0, &[0, 0xffff_ffff])?),
        (libc::SYS_socketpair, vec![is(0, libc::AF_UNIX.unsigned_abs().into())?]),
        (libc::SYS_sendto, vec![in_band(3)?]),
        (libc::SYS_recvfrom, vec![in_band(3)?]),
        (libc::SYS_sendmsg, vec![in_band(2)?]),
        (libc::SYS_recvmsg, vec![in_band(2)?]),
        (libc::SYS_openat, creating(2)?),
        (libc::SYS_fchmod, vec![plain(1)?]),
        (libc::SYS_fchmodat, vec![plain(2)?]),
        (SYS_FCHMODAT2, vec![plain(2)?]),
        (libc::SYS_mkdirat, vec![plain(2)?]),
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        (libc::SYS_open, creating(1)?),
        (libc::SYS_creat, vec![plain(1)?]),
        (libc::SYS_chmod, vec![plain(1)?]),
        (libc::SYS_mkdir, vec![plain(1)?]),
    ]);
    Ok(rules)
}

/// The mode bits by which a program runs as the owner or the group of its file.
const SET_ID: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;
/// The flags with which opening a file takes a mode.
const CREATING: u64 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64;

fn when(conditions: &[(u8, SeccompCmpArgLen, SeccompCmpOp, u64)]) -> Result<SeccompRule, String> {
    let conditions = conditions
        .iter()
        .map(|(arg, length, operator, value)| {
            SeccompCondition::new(*arg, length.clone(), operator.clone(), *value)
        })
        .collect::<Result<_, _>>();
    conditions.and_then(SeccompRule::new).map_err(|error| error.to_string())
}

/// What a terminal is asked before one writes to it, and what concerns the descriptor alone. No `TIOCSTI`.
///
/// As numbers, because their type differs from one C library to the other.
const IOCTLS: [u64; 6] = [
    0x5401, // TCGETS
    0x5413, // TIOCGWINSZ
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
];

/// Names, hints to the memory manager, and questions.
const PRCTLS: [u64; 8] = [
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_SET_THP_DISABLE as u64,
    libc::PR_GET_THP_DISABLE as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
    libc::PR_CAPBSET_READ as u64,
];

/// What concerns the whole machine. No program tries it to find out what it can do, so an attempt ends the program.
const LOUD: &[c_long] = &[
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// What runtimes try first and do without when the kernel is too old for it. The arguments of `clone3` and `openat2` are
/// in memory, where no filter sees them, and `io_uring` makes calls that no filter sees.
const ABSENT: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Attributes are copied with files where there are any, and access lists are among them.
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

const ALLOWED: &[c_long] = &[
    // Memory.
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_brk,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    // Files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_utimensat,
    libc::SYS_umask,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_memfd_create,
    // Processes and threads. Whom a signal reaches is up to the pid namespace and Landlock.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sigaltstack,
    // A program that is stopped while it sleeps goes on by this one.
    libc::SYS_restart_syscall,
    // Events and time.
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    SYS_FUTEX_WAKE,
    SYS_FUTEX_WAIT,
    SYS_FUTEX_REQUEUE,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_signalfd4,
    libc::SYS_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    // The rest. Sockets come in pairs only, so there is nothing to connect to.
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

// `libc` does not name these for every C library yet. From Linux 5.1 on the numbers are the same on each processor.
const SYS_FCHMODAT2: c_long = 452;
const SYS_FUTEX_WAKE: c_long = 454;
const SYS_FUTEX_WAIT: c_long = 455;
const SYS_FUTEX_REQUEUE: c_long = 456;

/// The older forms of the above, which later processors never had and C libraries still use.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_arch_prctl,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_time,
    libc::SYS_alarm,
    libc::SYS_pause,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;

    /// What a filter is shown of a call, as words: number, processor, address, and six arguments, lower half first.
    type Data = [u32; 16];
    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;

    fn data(arch: u32, number: u32, args: &[u64]) -> Data {
        let mut data = [0; 16];
        data[0] = number;
        data[1] = arch;
        for (index, arg) in args.iter().enumerate() {
            data[4 + 2 * index] = u32::try_from(arg & 0xffff_ffff).unwrap();
            data[5 + 2 * index] = u32::try_from(arg >> 32).unwrap();
        }
        data
    }

    /// Runs one program as the kernel does: the four kinds of instruction that a filter is made of, and no other.
    fn run(program: &[sock_filter], data: &Data) -> u32 {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
        const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
        const GO: u32 = libc::BPF_JMP | libc::BPF_JA;
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let op = program[at];
            at += 1;
            let condition = match u32::from(op.code) {
                LOAD => {
                    accumulator = data[usize::try_from(op.k).unwrap() / 4];
                    continue;
                }
                AND => {
                    accumulator &= op.k;
                    continue;
                }
                RETURN => return op.k,
                GO => {
                    at += usize::try_from(op.k).unwrap();
                    continue;
                }
                code => match code ^ libc::BPF_JMP {
                    libc::BPF_JEQ => accumulator == op.k,
                    libc::BPF_JGE => op.k <= accumulator,
                    libc::BPF_JGT => op.k < accumulator,
                    _ => panic!("{code:#x}"),
                },
            };
            at += usize::from(if condition { op.jt } else { op.jf });
        }
    }

    /// What the kernel makes of what all programs say: the strictest.
    fn verdict(programs: &[Vec<sock_filter>], data: &Data) -> &'static str {
        let answers: Vec<u32> = programs.iter().map(|program| run(program, data)).collect();
        let refusals = answers
            .iter()
            .filter(|answer| *answer & libc::SECCOMP_RET_ACTION_FULL != libc::SECCOMP_RET_ALLOW);
        assert!(
            refusals.count() <= 1 || answers.contains(&libc::SECCOMP_RET_KILL_PROCESS),
            "two errors: {data:?}"
        );
        let strictest =
            answers.into_iter().min_by_key(|answer| (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed());
        let strictest = strictest.unwrap();
        match (strictest & libc::SECCOMP_RET_ACTION_FULL, (strictest & libc::SECCOMP_RET_DATA).cast_signed())
        {
            (libc::SECCOMP_RET_ALLOW, _) => "allow",
            (libc::SECCOMP_RET_KILL_PROCESS, _) => "kill",
            (libc::SECCOMP_RET_ERRNO, libc::EPERM) => "EPERM",
            (libc::SECCOMP_RET_ERRNO, libc::ENOSYS) => "ENOSYS",
            other => panic!("{other:x?}"),
        }
    }

    /// The arguments that matter to a call, as `name(1, 0x2)` in the table.
    fn arguments(text: &str) -> (&str, Vec<u64>) {
        let (name, args) = text.strip_suffix(')').and_then(|text| text.split_once('(')).unwrap_or((text, ""));
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
            None => text.parse().unwrap(),
        };
        (name, args.split(',').map(str::trim).filter(|arg| !arg.is_empty()).map(number).collect())
    }

    #[test]
    fn every_system_call_is_decided_as_the_table_says() {
        let programs = programs().unwrap();
        let table = include_str!("../../../testdata/seccomp_x86_64.txt");
        let (mut known, mut found) = (std::collections::BTreeSet::new(), String::new());
        for line in table.lines() {
            if line.starts_with('#') || line.is_empty() {
                found.extend([line, "\n"]);
                continue;
            }
            let (number, rest) = line.split_once(' ').unwrap();
            let call = rest.rsplit_once(' ').map_or(rest, |(call, _)| call);
            let number: u32 = number.parse().unwrap();
            known.insert(number);
            let decided = verdict(&programs, &data(X86_64, number, &arguments(call).1));
            found.push_str(&format!("{number} {call} {decided}\n"));
        }
        if found != table {
            let changed = table.lines().zip(found.lines()).filter(|(old, new)| old != new);
            let changed: Vec<String> = changed.map(|(old, new)| format!("{old}  =>  {new}")).collect();
            panic!("decided otherwise than the table says:\n{}", changed.join("\n"));
        }
        for number in (0..2000).filter(|number| !known.contains(number)) {
            assert_eq!(
                verdict(&programs, &data(X86_64, number, &[])),
                if number < NEWER { "EPERM" } else { "ENOSYS" },
                "{number}, which the table does not name"
            );
        }
    }

    #[test]
    fn another_way_to_number_calls_ends_the_program() {
        let programs = programs().unwrap();
        for number in 0..600 {
            assert_eq!(verdict(&programs, &data(I386, number, &[])), "kill", "i386 {number}");
            assert_eq!(verdict(&programs, &data(X86_64, number | 0x4000_0000, &[])), "kill", "x32 {number}");
        }
        assert_eq!(verdict(&programs, &data(X86_64, u32::MAX, &[])), "kill");
    }

    #[test]
    fn the_upper_half_of_an_argument_hides_nothing() {
        let programs = programs().unwrap();
        let decide = |call: c_long, args: &[u64]| {
            verdict(&programs, &data(X86_64, u32::try_from(call).unwrap(), args))
        };
        // The kernel looks at the lower half of these only; what it would do is what must be judged.
        assert_eq!(decide(libc::SYS_ioctl, &[0, 0x1_0000_0000 | u64::from(libc::TIOCSTI as u32)]), "EPERM");
        assert_eq!(decide(libc::SYS_socketpair, &[0x1_0000_0000 | 2]), "EPERM");
        assert_eq!(decide(libc::SYS_clone, &[0x1_0000_0000 | 0x1000_0000]), "EPERM");
        assert_eq!(decide(libc::SYS_prlimit64, &[0, 7, 0x1_0000_0000]), "EPERM");
        assert_eq!(
            decide(libc::SYS_prctl, &[0x1_0000_0000 | u64::from(libc::PR_SET_DUMPABLE.unsigned_abs())]),
            "EPERM"
        );
    }
}
