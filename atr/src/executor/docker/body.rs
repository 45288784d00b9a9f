//! What the daemon is asked to make. `testdata/docker_create.json` shows it whole.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use super::daemon::Daemon;
use crate::isolation::Limits;

/// The system calls that a container may make, in Docker's own format. `runc` drops names that an architecture does not have.
const SECCOMP: &str = include_str!("seccomp.json");
/// Of memory, and so of files in it.
const PAGE: i64 = 4096;
const USER: &str = "65534:65534";
/// What tells about the machine or lets it be changed. `/sys` is masked whole.
const MASKED: [&str; 11] = [
    "/sys",
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn create(
    image: &str,
    argv: &[String],
    limits: &Limits,
    mounts: Vec<Mount>,
    labels: HashMap<String, String>,
    daemon: &Daemon,
) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: Some("sandbox".to_owned()),
        user: Some(USER.to_owned()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        tty: Some(false),
        env: Some(vec!["HOME=/scratch".to_owned(), "TMPDIR=/scratch".to_owned()]),
        // All of it as the entry point, so that nothing of the image's own is left in it.
        entrypoint: Some(argv.to_vec()),
        cmd: Some(Vec::new()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(image.to_owned()),
        working_dir: Some("/scratch".to_owned()),
        stop_signal: Some("SIGKILL".to_owned()),
        labels: Some(labels),
        host_config: Some(host(limits, mounts, daemon)),
        ..ContainerCreateBody::default()
    }
}

fn host(limits: &Limits, mounts: Vec<Mount>, daemon: &Daemon) -> HostConfig {
    let strings = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let memory = signed(limits.memory_bytes);
    let mut security = vec!["no-new-privileges".to_owned()];
    if daemon.seccomp {
        security.push(format!("seccomp={SECCOMP}"));
    }
    HostConfig {
        network_mode: Some("none".to_owned()),
        // Else the container is shown the name servers of the host.
        dns: strings(&["127.0.0.1"]),
        dns_search: strings(&["."]),
        dns_options: Some(Vec::new()),
        extra_hosts: Some(Vec::new()),
        ipc_mode: Some("none".to_owned()),
        pid_mode: Some(String::new()),
        uts_mode: Some(String::new()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_add: Some(Vec::new()),
        cap_drop: strings(&["ALL"]),
        security_opt: Some(security),
        masked_paths: strings(&MASKED),
        readonly_paths: strings(&READ_ONLY),
        memory: Some(memory),
        memory_swap: Some(memory),
        memory_swappiness: Some(0),
        oom_kill_disable: Some(false),
        // One more for docker-init.
        pids_limit: Some(i64::from(limits.processes) + 1),
        nano_cpus: daemon.quota.then_some(1_000_000_000),
        ulimits: Some(ulimits(limits)),
        tmpfs: Some(HashMap::from([("/scratch".to_owned(), scratch(limits.scratch_bytes))])),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        init: Some(true),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        binds: Some(Vec::new()),
        mounts: Some(mounts),
        devices: Some(Vec::new()),
        volumes_from: Some(Vec::new()),
        links: Some(Vec::new()),
        ..HostConfig::default()
    }
}

/// Limits of each single process. There is none on processes: the kernel counts those of a user over all containers, so
/// one program could keep another from starting any. `pids_limit` counts those of one container.
fn ulimits(limits: &Limits) -> Vec<ResourcesUlimits> {
    let cpu = seconds(limits.cpu) + 1;
    let files = i64::from(limits.open_files);
    // A page more, so that a program which fills its scratch space is told so instead of being killed.
    let size = signed(limits.scratch_bytes) + PAGE;
    [
        ("core", 0, 0),
        ("cpu", cpu, cpu + 1),
        ("fsize", size, size),
        ("memlock", 0, 0),
        ("msgqueue", 0, 0),
        ("nofile", files, files),
    ]
    .into_iter()
    .map(|(name, soft, hard)| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft),
        hard: Some(hard),
    })
    .collect()
}

/// A file takes a page at least, so files without content are bounded as if they had one.
fn scratch(bytes: u64) -> String {
    let files = (bytes / PAGE.unsigned_abs()).max(64);
    format!("size={bytes},nr_inodes={files},mode=0700,uid=65534,gid=65534,noexec,nosuid,nodev")
}

fn seconds(time: Duration) -> i64 {
    signed(time.as_secs() + u64::from(time.subsec_nanos() != 0))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const GOLDEN: &str = "testdata/docker_create.json";

    fn made() -> Value {
        let daemon = Daemon { seccomp: true, quota: true, ..Daemon::default() };
        let labels = ["atr.owner", "atr.agent", "atr.deadline"].map(|key| (key.to_owned(), "…".to_owned()));
        let argv = ["/tool".to_owned(), "--flag".to_owned()];
        let image = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let body = create(image, &argv, &Limits::DEFAULT, Vec::new(), labels.into(), &daemon);
        let mut made = serde_json::to_value(body).unwrap();
        // The list itself is in `seccomp.json`.
        let filter = &mut made["HostConfig"]["SecurityOpt"][1];
        let (key, list) = filter.as_str().unwrap().split_once('=').unwrap();
        assert_eq!(serde_json::from_str::<Value>(list).unwrap()["defaultAction"], "SCMP_ACT_ERRNO");
        *filter = format!("{key}=…").into();
        made
    }

    #[test]
    fn what_is_asked_for_by_default_is_on_file() {
        let made = made();
        if std::env::var_os("AGENT_OS_WRITE_GOLDEN").is_some() {
            std::fs::write(GOLDEN, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        }
        let golden = std::fs::read_to_string(GOLDEN).unwrap();
        assert_eq!(made, serde_json::from_str::<Value>(&golden).unwrap());
    }

    #[test]
    fn a_daemon_without_seccomp_or_quota_is_not_asked_for_them() {
        let host = host(&Limits::DEFAULT, Vec::new(), &Daemon::default());
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.nano_cpus, None);
    }

    #[test]
    fn every_call_of_the_list_is_named_once_without_a_condition() {
        let list: Value = serde_json::from_str(SECCOMP).unwrap();
        let mut named = std::collections::BTreeSet::new();
        for rule in list["syscalls"].as_array().unwrap().iter().filter(|rule| rule.get("args").is_none()) {
            for name in rule["names"].as_array().unwrap() {
                assert!(named.insert(name.as_str().unwrap()), "{name}");
            }
        }
        let forbidden = [
            "socket",
            "unshare",
            "setns",
            "mount",
            "umount2",
            "pivot_root",
            "keyctl",
            "add_key",
            "perf_event_open",
            "userfaultfd",
            "open_by_handle_at",
            "quotactl",
            "acct",
            "kcmp",
            "setuid",
            "capset",
            "mknod",
            "chroot",
        ];
        assert!(forbidden.iter().all(|name| !named.contains(name)));
    }
}
