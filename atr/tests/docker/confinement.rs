//! What a program in a container sees and reaches.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use agent_tool_registry::{Access, Executor, Guarantee, GuaranteeSet, Limits, Permissions};
use serde_json::json;

use crate::{World, block_on};

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

#[test]
fn s28_it_is_nobody_without_rights_on_a_root_that_cannot_be_written() {
    block_on(async {
        let world = World::new("s28").await;
        let status = world.shell("cat /proc/self/status; id; cat /proc/self/attr/current").await;
        for line in [
            "Uid:\t65534\t65534\t65534\t65534",
            "Groups:\t65534",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        let mounts = world.shell("cat /proc/mounts").await;
        let options = |place: &str| {
            let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(place));
            let options = line.unwrap_or_else(|| panic!("{place} is not in {mounts}")).split(' ').nth(3);
            options.unwrap().split(',').map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(options("/").contains(&"ro".to_owned()));
        for option in ["noexec", "nosuid", "nodev", "size=65536k"] {
            assert!(options("/scratch").contains(&option.to_owned()), "{option}");
        }
        let interfaces = world.shell("cat /proc/net/dev").await;
        let names = interfaces.lines().skip(2).map(|line| line.split(':').next().unwrap().trim());
        assert_eq!(names.collect::<Vec<_>>(), ["lo"]);
        assert_eq!(
            world.shell("ls /sys /scratch /tmp; ls -d /dev/shm /dev/sda /dev/kvm /dev/mem 2>/dev/null").await,
            "/scratch:\n\n/sys:\n\n/tmp:\n"
        );
        assert_eq!(world.shell("echo 1 > /x").await, "/bin/sh: can't create /x: Read-only file system\n");
    });
}

#[test]
fn s07_s10_s18_nothing_of_the_host_is_to_be_seen() {
    // Before any thread of this test is there.
    // The canary is in the environment that nextest or cargo gave this process, which is as good.
    let canary = std::env::vars().find(|(name, value)| name.starts_with("CARGO") && 8 < value.len());
    let (name, value) = canary.expect("a variable of this process to look for");
    block_on(async {
        let world = World::new("s18").await;
        let seen = world.shell("env; cat /proc/1/environ /proc/self/environ; cat /proc/*/environ").await;
        assert!(!seen.contains(&name) && !seen.contains(&value), "{seen}");
        let names = world.shell("env").await;
        let mut names: Vec<&str> = names.lines().map(|line| line.split('=').next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "TMPDIR"]);
        assert!(world.shell("cat /etc/passwd").await.contains("No such file"));
        assert_eq!(world.shell("cat /etc/hostname").await, "sandbox\n");
        // The name servers and domains of the host are none of its business.
        let servers = world.shell("cat /etc/resolv.conf").await;
        assert_eq!(
            servers.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(),
            ["nameserver 127.0.0.1"]
        );
        let init = std::fs::read_to_string("/proc/1/comm").unwrap();
        assert_ne!(world.shell("cat /proc/1/comm").await, init);
    });
}

#[test]
fn s11_s12_s13_no_network_is_reached() {
    block_on(async {
        let world = World::new("s11").await;
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        let ports =
            [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()].map(|port| port.to_string());
        let facts = world.probe(&["network", &ports[0], &ports[1]]).await;
        for (name, result) in facts.as_object().unwrap() {
            assert_eq!(*result, if name == "pair" { 0 } else { EPERM }, "{name}");
        }
        assert!(tcp.accept().is_err() && udp.recv(&mut [0]).is_err());
        let lookup = world.text(&["/bin/nslookup", "example.org"], b"").await;
        assert_ne!(format!("{:?}", lookup.0.cause), "Code(0)", "{lookup:?}");
    });
}

#[test]
fn s15_s37_s39_what_the_list_does_not_allow_is_refused() {
    block_on(async {
        let world = World::new("s15").await;
        let facts = world.probe(&["calls"]).await;
        for (name, result) in facts.as_object().unwrap() {
            let expected = match name.as_str() {
                "clone" | "chmod_plain" => 0,
                "clone3" | "io_uring_setup" | "openat2" => ENOSYS,
                _ => EPERM,
            };
            assert_eq!(*result, expected, "{name}");
        }
        let changed = world.probe(&["change", "/bin/busybox"]).await;
        for (name, result) in changed.as_object().unwrap() {
            assert!(result.as_i64().unwrap() < 0, "{name} {result}");
        }
        let killed = world.call(&["/bin/probe", "swapoff"], Limits::DEFAULT).await.unwrap_err();
        assert_eq!(killed.code(), "AK0540");
    });
}

#[test]
fn s16_a_setuid_program_gains_nothing() {
    block_on(async {
        let world = World::new("s16").await;
        assert!(world.shell("ls -l /bin/setuid").await.starts_with("-rwsr-xr-x"), "this test shows nothing");
        let facts = world.call(&["/bin/setuid", "ids"], Limits::DEFAULT).await.unwrap();
        assert_eq!(facts, json!({"uid": 65534, "euid": 65534, "egid": 65534}));
    });
}

#[test]
fn nothing_in_scratch_is_executed() {
    block_on(async {
        let world = World::new("noexec").await;
        let said = world.shell("cat /bin/probe > /scratch/p; chmod 755 /scratch/p; /scratch/p ids").await;
        assert!(said.contains("Permission denied"), "{said}");
    });
}

#[test]
fn granted_folders_are_seen_as_granted_and_others_refused() {
    block_on(async {
        let world = World::new("folders").await;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::write(dir.join("word"), "granted").unwrap();
        let path = dir.to_str().unwrap();
        let run = async |script: &str, access| {
            let mut launch = world.launch(&["/bin/sh", "-c", script], Limits::DEFAULT);
            launch.permissions = Permissions::none().folder(path, access);
            let finished = world.docker.call(launch, bytes::Bytes::new()).await;
            finished.result.map(agent_tool_registry::Output::into_value)
        };
        let script = format!(
            "printf '[\"%s\", \"%s\"]' \"$(cat {path}/word)\" \"$(echo 1 2>/dev/null > {path}/word || echo refused)\""
        );
        assert_eq!(run(&script, Access::Execute).await.unwrap(), json!(["granted", "refused"]));
        assert_eq!(std::fs::read_to_string(dir.join("word")).unwrap(), "granted");
        // On a file system from which programs may be executed, docker can grant neither.
        for access in [Access::Read, Access::Write] {
            let error = run("echo 1", access).await.unwrap_err();
            assert_eq!(error.code(), "AK0534", "{access:?}");
            assert!(error.host_detail().unwrap().contains("executed"), "{error:?}");
        }
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        assert_eq!(run("echo 1", Access::Execute).await.unwrap_err().code(), "AK0534");
        drop(listener);
        world.assert_nothing_left().await;
    });
}

#[test]
fn what_is_guaranteed_is_what_this_daemon_enforces() {
    block_on(async {
        let world = World::new("guarantees").await;
        let all: GuaranteeSet = Guarantee::ALL.into_iter().collect();
        let given = world.docker.guarantees(&Permissions::none(), &Limits::DEFAULT).unwrap();
        assert_eq!(given, all);
        let session = world.start(&["/bin/echo"]).await;
        assert_eq!(session.guarantees, all);
        drop(session);
        world.gone_within(Duration::from_secs(5), &[]).await;
        let small = Limits { memory_bytes: 1 << 20, ..Limits::DEFAULT };
        assert_eq!(world.docker.guarantees(&Permissions::none(), &small).unwrap_err().code(), "AK0534");
    });
}
