//! Programs that ask the kernel for what is not theirs.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::{io, process};

use agent_tool_registry::Access;
use libc::{c_long, pid_t};
use serde_json::{Value, json};

use crate::host::{Tool, alone};

/// A system call in the probe's words.
fn call(number: c_long, args: &[&str]) -> String {
    [number.to_string().as_str()].iter().chain(args).copied().collect::<Vec<_>>().join(",")
}

/// Results of system calls, made one after the other.
fn results(tool: &Tool, calls: &[(&str, c_long, &[&str])]) -> Vec<(String, i64)> {
    let texts: Vec<String> = calls.iter().map(|(_, number, args)| call(*number, args)).collect();
    let args: Vec<&str> = ["sys"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let found = tool.run(&args).value();
    let found = found.as_array().unwrap().iter().map(|result| result.as_i64().unwrap());
    let names = calls.iter().map(|(name, ..)| (*name).to_owned());
    names.zip(found).collect()
}

fn assert_refused(tool: &Tool, calls: &[(&str, c_long, &[&str])], with: &[i32]) {
    for (name, result) in results(tool, calls) {
        assert!(with.iter().any(|error| result == -i64::from(*error)), "{name}: {result}");
    }
}

#[test]
fn s11_s12_s13_s38_no_socket_reaches_anything() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("atr-abuse-{}", process::id());
    let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    abstract_socket.set_nonblocking(true).unwrap();

    let (tool, folder) = Tool::new().granted("with_socket", Access::Write);
    let in_folder = UnixListener::bind(folder.join("s")).unwrap();
    in_folder.set_nonblocking(true).unwrap();

    let families: [(&str, &[&str]); 12] = [
        ("TCP", &["2", "1", "0"]),
        ("TCP over IPv6", &["10", "1", "0"]),
        ("UDP", &["2", "2", "0"]),
        ("ICMP", &["2", "2", "1"]),
        ("raw IP", &["2", "3", "1"]),
        ("Unix", &["1", "1", "0"]),
        ("netlink", &["16", "3", "0"]),
        ("packet", &["17", "3", "768"]),
        ("bluetooth", &["31", "3", "1"]),
        ("crypto", &["38", "5", "0"]),
        ("vsock", &["40", "1", "0"]),
        ("XDP", &["44", "3", "0"]),
    ];
    let sockets: Vec<_> = families.map(|(name, args)| (name, libc::SYS_socket, args)).into();
    assert_refused(&tool, &sockets, &[libc::EPERM]);

    // A pair is given, and leads nowhere but to its other end. The first descriptor is 3.
    let found = results(
        &tool,
        &[
            ("socketpair", libc::SYS_socketpair, &["1", "1", "0", "@"]),
            ("connect", libc::SYS_connect, &["3", "@0x0100007f12340002", "16"]),
            ("bind", libc::SYS_bind, &["3", "@1", "2"]),
            ("listen", libc::SYS_listen, &["3", "1"]),
            ("accept", libc::SYS_accept, &["3", "0", "0"]),
            ("urgent", libc::SYS_sendto, &["3", "@1", "1", "1", "0", "0"]),
            ("send", libc::SYS_sendto, &["3", "@1", "1", "0", "0", "0"]),
            ("receive", libc::SYS_recvfrom, &["4", "@", "1", "0", "0", "0"]),
            ("socketpair of another family", libc::SYS_socketpair, &["2", "1", "0", "@"]),
        ],
    );
    let found: Vec<i64> = found.into_iter().map(|(_, result)| result).collect();
    assert_eq!(found, [0, -1, -1, -1, -1, -1, 1, 1, -1]);

    assert_ne!(tool.run(&["name"]).value()["error"], 0);

    let nobody = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::WouldBlock;
    assert!(nobody(tcp.accept().map(drop)));
    assert!(nobody(udp.recv(&mut [0]).map(drop)));
    assert!(nobody(abstract_socket.accept().map(drop)));
    assert!(nobody(in_folder.accept().map(drop)));
}

#[test]
fn s14_other_processes_cannot_be_looked_into() {
    let _alone = alone();
    let host = process::id().to_string();
    let calls: Vec<(&str, c_long, Vec<&str>)> = ["1", host.as_str()]
        .into_iter()
        .flat_map(|pid| {
            [
                ("attach", libc::SYS_ptrace, vec!["16", pid, "0", "0"]),
                ("seize", libc::SYS_ptrace, vec!["0x4206", pid, "0", "0"]),
                ("read memory", libc::SYS_process_vm_readv, vec![pid, "@", "1", "@", "1", "0"]),
                ("write memory", libc::SYS_process_vm_writev, vec![pid, "@", "1", "@", "1", "0"]),
                ("hold", libc::SYS_pidfd_open, vec![pid, "0"]),
                ("take a descriptor", libc::SYS_pidfd_getfd, vec!["0", "0", "0"]),
                ("compare", libc::SYS_kcmp, vec![pid, pid, "0", "0", "0"]),
                ("limit", libc::SYS_prlimit64, vec![pid, "7", "0", "@"]),
                ("move pages", libc::SYS_migrate_pages, vec![pid, "1", "@", "@"]),
                ("bind to a processor", libc::SYS_sched_setaffinity, vec![pid, "8", "@1"]),
                ("prefer", libc::SYS_setpriority, vec!["0", pid, "0"]),
                ("robust list", libc::SYS_get_robust_list, vec![pid, "@", "@"]),
                ("advise", libc::SYS_process_madvise, vec!["0", "@", "1", "4", "0"]),
            ]
        })
        .chain([("be traced", libc::SYS_ptrace, vec!["0", "0", "0", "0"])])
        .collect();
    let calls: Vec<_> = calls.iter().map(|(name, number, args)| (*name, *number, args.as_slice())).collect();
    assert_refused(&Tool::new(), &calls, &[libc::EPERM, libc::ESRCH]);
}

#[test]
fn s15_nothing_is_mounted_and_no_namespace_is_made_or_entered() {
    let _alone = alone();
    let calls: &[(&str, c_long, &[&str])] = &[
        ("mount", libc::SYS_mount, &["'tmpfs", "'/scratch", "'tmpfs", "0", "0"]),
        ("bind", libc::SYS_mount, &["'/", "'/scratch", "0", "4096", "0"]),
        ("unmount", libc::SYS_umount2, &["'/scratch", "2"]),
        ("pivot", libc::SYS_pivot_root, &["'/scratch", "'/scratch"]),
        ("chroot", libc::SYS_chroot, &["'/scratch"]),
        ("fsopen", libc::SYS_fsopen, &["'tmpfs", "0"]),
        ("open_tree", libc::SYS_open_tree, &["-100", "'/", "1"]),
        ("move_mount", libc::SYS_move_mount, &["-100", "'/", "-100", "'/scratch", "0"]),
        ("mount_setattr", libc::SYS_mount_setattr, &["-100", "'/", "0", "@", "32"]),
        ("statmount", 457, &["@", "@", "512", "0"]),
        ("unshare user", libc::SYS_unshare, &["0x10000000"]),
        ("unshare files", libc::SYS_unshare, &["0x400"]),
        ("setns", libc::SYS_setns, &["0", "0"]),
        ("clone user", libc::SYS_clone, &["0x10000011", "0", "0", "0", "0"]),
        ("clone time", libc::SYS_unshare, &["0x80"]),
    ];
    assert_refused(&Tool::new().with_proc(), calls, &[libc::EPERM]);
}

#[test]
fn s17_signals_reach_nobody_else() {
    // A process of the host that does not belong to the sandbox, and would die of it.
    let mut other = process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let found = Tool::new().run(&["kills", &other.id().to_string()]).value();
    for result in found.as_array().unwrap() {
        assert!([-libc::EPERM, -libc::ESRCH].iter().any(|error| result == *error), "{found}");
    }
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn s39_doors_into_the_kernel_are_shut() {
    let _alone = alone();
    let calls: &[(&str, c_long, &[&str])] = &[
        ("bpf", libc::SYS_bpf, &["5", "@", "128"]),
        ("perf_event_open", libc::SYS_perf_event_open, &["@", "0", "-1", "-1", "0"]),
        ("keyctl", libc::SYS_keyctl, &["0", "-4", "0"]),
        ("add_key", libc::SYS_add_key, &["'user", "'k", "@", "8", "-4"]),
        ("request_key", libc::SYS_request_key, &["'user", "'k", "0", "-4"]),
        ("userfaultfd", libc::SYS_userfaultfd, &["0"]),
        ("kcmp", libc::SYS_kcmp, &["0", "0", "0", "0", "0"]),
        ("io_uring_setup", libc::SYS_io_uring_setup, &["8", "@"]),
        ("clone3", libc::SYS_clone3, &["@", "88"]),
        ("openat2", libc::SYS_openat2, &["-100", "'/scratch", "@", "24"]),
        ("io_setup", libc::SYS_io_setup, &["8", "@"]),
        ("vmsplice", libc::SYS_vmsplice, &["1", "@", "1", "0"]),
        ("splice", libc::SYS_splice, &["0", "0", "1", "0", "1", "0"]),
        ("memfd_secret", libc::SYS_memfd_secret, &["0"]),
        ("seccomp", libc::SYS_seccomp, &["1", "0", "@"]),
        ("landlock", libc::SYS_landlock_create_ruleset, &["@1", "8", "0"]),
        ("fanotify", libc::SYS_fanotify_init, &["0", "0"]),
        ("inotify", libc::SYS_inotify_init1, &["0"]),
        ("quotactl", libc::SYS_quotactl, &["0", "0", "0", "0"]),
        ("syslog", libc::SYS_syslog, &["3", "@", "64"]),
        ("sethostname", libc::SYS_sethostname, &["'x", "1"]),
        ("settimeofday", libc::SYS_settimeofday, &["@", "0"]),
        ("adjtimex", libc::SYS_adjtimex, &["@"]),
        ("acct", libc::SYS_acct, &["'/scratch"]),
        ("sync", libc::SYS_sync, &[]),
        ("shmget", libc::SYS_shmget, &["0", "4096", "0x3ff"]),
        ("msgget", libc::SYS_msgget, &["0", "0x3ff"]),
        ("mq_open", libc::SYS_mq_open, &["'q", "0x42", "0x1ff", "0"]),
        ("modify_ldt", libc::SYS_modify_ldt, &["1", "@", "16"]),
        ("personality", libc::SYS_personality, &["0x40000"]),
        ("setuid", libc::SYS_setuid, &["0"]),
        ("setgroups", libc::SYS_setgroups, &["0", "0"]),
        ("capset", libc::SYS_capset, &["@0x20080522", "@"]),
        ("capabilities for a child", libc::SYS_prctl, &["47", "2", "0", "0", "0"]),
        ("dumpable", libc::SYS_prctl, &["4", "1", "0", "0", "0"]),
        ("death signal", libc::SYS_prctl, &["1", "0", "0", "0", "0"]),
        ("subreaper", libc::SYS_prctl, &["36", "1", "0", "0", "0"]),
        ("type into the terminal", libc::SYS_ioctl, &["0", "0x5412", "@65"]),
        ("paste into the console", libc::SYS_ioctl, &["0", "0x541c", "@3"]),
        ("take the terminal", libc::SYS_ioctl, &["0", "0x540e", "1"]),
        ("priority", libc::SYS_sched_setscheduler, &["0", "1", "@1"]),
        ("open by handle", libc::SYS_open_by_handle_at, &["0", "@8", "0"]),
        ("name to handle", libc::SYS_name_to_handle_at, &["-100", "'/", "@8", "@", "0"]),
    ];
    assert_refused(&Tool::new(), calls, &[libc::EPERM, libc::ENOSYS]);
}

#[test]
fn what_concerns_the_machine_ends_the_program() {
    let tool = Tool::new();
    let calls: &[(c_long, &[&str])] = &[
        (libc::SYS_reboot, &["0", "0", "0", "0"]),
        (libc::SYS_kexec_load, &["0", "0", "0", "0"]),
        (libc::SYS_init_module, &["@", "0", "'"]),
        (libc::SYS_delete_module, &["'x", "0"]),
        (libc::SYS_swapon, &["'/scratch/s", "0"]),
    ];
    for (number, args) in calls {
        let error = tool.run(&["sys", &call(*number, args)]).result.unwrap_err();
        assert_eq!(error.code(), "AK0540", "{number}: {error:?}");
        assert_eq!(error.to_string(), "the tool tried what its sandbox forbids");
    }
}

#[test]
fn another_way_to_number_system_calls_ends_the_program() {
    for mode in ["i386", "x32"] {
        let run = Tool::new().run(&[mode]);
        assert_eq!(run.code(), "AK0540", "{mode}: {run:?}");
    }
}

#[test]
fn s10_s18_nothing_of_the_host_is_in_what_it_inherits() {
    // Its parent's environment holds at least these.
    assert!(std::env::var_os("PATH").is_some() && std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let environment = Tool::new().run(&["environment"]).value();
    let expected = ["HOME=/scratch", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/scratch"];
    assert_eq!(environment, json!(expected));
    let tool = Tool::new().with_proc();
    let own = tool.run(&["cat", "/proc/self/environ"]).value();
    assert_eq!(own, json!(format!("{}\n", expected.join("\n"))));
    // The first process is the host's own code, and so holds the host's memory.
    for file in ["environ", "maps", "mem", "cmdline", "auxv", "stack"] {
        let text = tool.run(&["cat", &format!("/proc/1/{file}")]).value();
        assert_eq!(text, json!(""), "{file}");
    }
}

#[test]
fn nothing_that_the_host_has_open_is_open_in_the_program() {
    // Left open for whatever the host starts, as careless libraries do.
    let secret = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(Tool::new().run(&["descriptors"]).value(), json!([0, 1, 2]));
    let listed = Tool::new().with_proc().run(&["sys", &call(libc::SYS_open, &["'/proc/1/fd", "0"])]).value();
    assert!(listed[0].as_i64().unwrap() < 0, "{listed}");
}

#[test]
fn s16_a_program_has_no_more_rights_than_any_other_whatever_its_file_says() {
    let expected = json!({
        "uids": [65534, 65534, 65534], "gid": 65534, "groups": 0, "bounding": 0, "no_new_privs": 1
    });
    let (tool, folder) = Tool::new().granted("bin", Access::Execute);
    let set_id = folder.join("set_id");
    std::fs::copy(&tool.program, &set_id).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o6755);
    std::fs::set_permissions(&set_id, mode).unwrap();
    assert_eq!(tool.run(&["identity"]).value(), expected);
    let tool = Tool { program: set_id, ..tool };
    assert_eq!(tool.run(&["identity"]).value(), expected);
}

#[test]
fn its_processes_are_numbered_as_if_there_were_no_others() {
    let found =
        Tool::new().run(&["sys", &call(libc::SYS_getpid, &[]), &call(libc::SYS_getppid, &[])]).value();
    let [own, parent] = [&found[0], &found[1]].map(Value::as_i64).map(Option::unwrap);
    assert_eq!(pid_t::try_from(parent).unwrap(), 1);
    assert!(own < 10, "{own}");
}
