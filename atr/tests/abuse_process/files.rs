//! Programs that look for files that they were not given.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use agent_tool_registry::isolation::FolderGrant;
use agent_tool_registry::{Access, Permissions};
use libc::c_long;
use serde_json::json;

use crate::host::{Tool, alone, block_on, timer};

/// Results of system calls, made one after the other.
fn results(tool: &Tool, calls: &[(c_long, &[&str])]) -> Vec<i64> {
    let texts = calls.iter().map(|(number, args)| {
        [number.to_string().as_str()].iter().chain(*args).copied().collect::<Vec<_>>().join(",")
    });
    let texts: Vec<String> = texts.collect();
    let args: Vec<&str> = ["sys"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    serde_json::from_value(tool.run(&args).value()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn s07_s08_s10_files_of_the_host_are_not_there() {
    let plain = Tool::new();
    let beside = plain.folder().join("beside");
    fs::write(&beside, "secret").unwrap();
    let around = plain.folder().to_str().unwrap().to_owned();
    let beside = text(&beside).to_owned();
    let paths = [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "../../../etc/hostname",
        "/scratch/../etc/passwd",
        "/scratch/../../../../../etc/passwd",
        "/root/.ssh/id_rsa",
        "/root",
        "/home",
        "/tmp",
        "/usr/bin/env",
        "/var/run/docker.sock",
        "/run",
        "/sys/kernel/notes",
        "/sys/fs/cgroup/cgroup.procs",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/tty",
        "/dev/shm",
        "/dev/kvm",
        "/dev/ptmx",
        "/proc/1/environ",
        "/proc/1/root/etc/passwd",
        "/proc/1/cwd/Cargo.toml",
        "/proc/1/mem",
        "/proc/1/exe",
        "/proc/1/fd/0",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/../etc/passwd",
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/mounts",
        "/proc/keys",
        "/proc/version",
        &beside,
        &around,
    ];
    let args: Vec<&str> = ["read"].into_iter().chain(paths).collect();
    for tool in [plain, Tool::new().with_proc()] {
        let found: Vec<i64> = serde_json::from_value(tool.run(&args).value()).unwrap();
        for (path, got) in paths.iter().zip(found) {
            let refused =
                [libc::ENOENT, libc::EACCES, libc::EPERM].iter().any(|error| got == -i64::from(*error));
            assert!(refused, "{path}: {got}, {:?}", tool.permissions);
        }
    }
}

#[test]
fn s09_no_link_leads_out() {
    let _alone = alone();
    let (tool, granted) = Tool::new().granted("in", Access::Read);
    let tool = tool.with_proc();
    let (inside, out) = (granted.join("file"), granted.join("out"));
    fs::write(&inside, "inside").unwrap();
    let secret = tool.folder().join("secret");
    fs::write(&secret, "secret").unwrap();
    // One that the host's user has put there already leads out of the folder, and so nowhere.
    symlink(&secret, &out).unwrap();
    let (open, inside) = (libc::SYS_open, format!("'{}", text(&inside)));
    let found = results(
        &tool,
        &[
            (libc::SYS_symlink, &["'/etc/shadow", "'/scratch/shadow"]),
            (open, &["'/scratch/shadow", "0"]),
            (libc::SYS_symlink, &["'/proc/1/root", "'/scratch/root"]),
            (open, &["'/scratch/root/etc/passwd", "0"]),
            (libc::SYS_symlink, &["'../../../../etc", "'/scratch/up"]),
            (open, &["'/scratch/up/passwd", "0"]),
            (open, &[&format!("'{}", text(&out)), "0"]),
            // Nor can a file be taken over by a second name.
            (libc::SYS_link, &[&inside, "'/scratch/file"]),
            (libc::SYS_linkat, &["-100", &inside, "-100", "'/scratch/file", "0x400"]),
            (libc::SYS_rename, &[&inside, "'/scratch/file"]),
            (open, &[&inside, "0"]),
            (libc::SYS_linkat, &["$10", "'", "-100", "'/scratch/file", "0x1000"]),
            (libc::SYS_linkat, &["-100", "'/proc/self/fd/3", "-100", "'/scratch/file", "0x400"]),
        ],
    );
    let refused =
        [libc::ENOENT, libc::EACCES, libc::EPERM, libc::EXDEV, libc::EROFS].map(|error| -i64::from(error));
    for (index, result) in found.iter().enumerate() {
        match index {
            0 | 2 | 4 => assert_eq!(*result, 0, "{index}: a link is only a text"),
            10 => assert_eq!(*result, 3, "what is granted can be opened"),
            _ => assert!(refused.contains(result), "{index}: {result}"),
        }
    }
}

#[test]
fn s37_what_may_be_read_only_is_not_changed() {
    let _alone = alone();
    for access in [Access::Read, Access::Execute] {
        let (tool, granted) = Tool::new().granted("in", access);
        let path = granted.join("file");
        fs::write(&path, "as it was").unwrap();
        let before = fs::metadata(&path).unwrap();
        let (file, folder) = (format!("'{}", text(&path)), format!("'{}", text(&granted)));
        let other = format!("'{}/other", text(&granted));
        let found = results(
            &tool,
            &[
                (libc::SYS_open, &[&file, "1"]),
                (libc::SYS_open, &[&file, "2"]),
                (libc::SYS_open, &[&file, "0x200"]),
                (libc::SYS_open, &[&other, "0x41", "0x1ff"]),
                (libc::SYS_open, &[&folder, "0x410002", "0x1ff"]),
                (libc::SYS_chmod, &[&file, "0x1ff"]),
                (libc::SYS_chmod, &[&folder, "0x1ff"]),
                (libc::SYS_chown, &[&file, "65534", "65534"]),
                (libc::SYS_lchown, &[&file, "0", "0"]),
                (libc::SYS_utimensat, &["-100", &file, "@", "0"]),
                (libc::SYS_truncate, &[&file, "0"]),
                (libc::SYS_unlink, &[&file]),
                (libc::SYS_rename, &[&file, &other]),
                (libc::SYS_mkdir, &[&other, "0x1ff"]),
                (libc::SYS_symlink, &["'x", &other]),
                (libc::SYS_link, &[&file, &other]),
                (libc::SYS_mknod, &[&other, "0x11ff", "0"]),
                (libc::SYS_mknod, &[&other, "0x21ff", "0x103"]),
                (libc::SYS_setxattr, &[&file, "'user.x", "@", "1", "0"]),
                (libc::SYS_removexattr, &[&file, "'user.x"]),
                (libc::SYS_mount, &["0", &folder, "0", "0x1020", "0"]),
            ],
        );
        assert!(found.iter().all(|result| *result < 0), "{access:?}: {found:?}");
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"as it was");
        assert_eq!((after.mode(), after.mtime(), after.ino()), (before.mode(), before.mtime(), before.ino()));
        assert_eq!(fs::read_dir(&granted).unwrap().count(), 1);
    }
}

#[test]
fn what_may_be_written_can_be_written_and_not_run() {
    let (tool, out) = Tool::new().granted("out", Access::Write);
    let tool = tool.with_proc();
    let copy = out.join("copy");
    for path in ["/scratch/copy", text(&copy)] {
        for by_descriptor in ["0", "1"] {
            let found = tool.run(&["execute", path, by_descriptor]).value();
            assert_eq!(found, json!({"execute": -libc::EACCES}), "{path} {by_descriptor}");
        }
    }
    // It was written, it belongs to the host's user, and nobody else was let in.
    let written = fs::metadata(&copy).unwrap();
    assert_eq!(written.len(), fs::metadata(&tool.program).unwrap().len());
    assert_eq!(written.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(written.permissions().mode() & 0o7777, 0o700);
}

#[test]
fn what_may_be_written_is_not_run_by_a_loader_or_an_interpreter_line_either() {
    let _alone = alone();
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = loaders.into_iter().find(|loader| Path::new(loader).exists()).unwrap();
    let script = format!(
        r#"
        cd /scratch; cp /bin/true copy; printf '#!/bin/true\n' > script; chmod 700 copy script
        /bin/true || exit 1
        {loader} /bin/true || exit 2
        {loader} ./copy && exit 3
        ./copy && exit 4
        ./script && exit 5
        echo 1
        "#
    );
    let tool = Tool { program: "/bin/sh".into(), permissions: Permissions::system(), ..Tool::new() };
    let executions = agent_tool_registry::executor::Executions::new(timer());
    let run = block_on(tool.call(&["-c", &script], json!({}), &executions));
    assert_eq!(run.value(), json!(1));
}

#[test]
fn nothing_it_makes_runs_as_the_hosts_user() {
    let _alone = alone();
    let (tool, out) = Tool::new().granted("out", Access::Write);
    let path = format!("'{}/f", text(&out));
    let found = results(
        &tool,
        &[
            (libc::SYS_open, &[&path, "0x41", "0x9ed"]),
            (libc::SYS_creat, &[&path, "0x5ed"]),
            (libc::SYS_openat, &["-100", &path, "0x41", "0xded"]),
            (libc::SYS_openat2, &["-100", &path, "@0x41", "24"]),
            (libc::SYS_creat, &[&path, "0x1c0"]),
            (libc::SYS_chmod, &[&path, "0x9ed"]),
            (libc::SYS_fchmod, &["$4", "0x5ed"]),
            (libc::SYS_fchmodat, &["-100", &path, "0x9ed"]),
            (452, &["-100", &path, "0x9ed", "0"]),
            (libc::SYS_mknod, &[&format!("{path}2"), "0x89ed", "0"]),
            (libc::SYS_setxattr, &[&path, "'security.capability", "@1", "20", "0"]),
            // Nor is the host held up when it opens the file.
            (libc::SYS_fcntl, &["$4", "1024", "1"]),
        ],
    );
    assert_eq!(found[4], 3);
    assert!(found.iter().enumerate().all(|(index, result)| index == 4 || *result < 0), "{found:?}");
    assert_eq!(fs::metadata(out.join("f")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn the_same_folder_is_not_granted_to_write_and_to_run() {
    let _alone = alone();
    let (tool, folder) = Tool::new().granted("bin", Access::Execute);
    // Some other name of the same folder, or of one within.
    let within = folder.join("within");
    fs::create_dir(&within).unwrap();
    for other in [&folder, &within] {
        let copy = other.join("copy");
        let alias = tool.folder().join("alias");
        symlink(other, &alias).unwrap();
        let permissions = tool.permissions.clone().folder(&alias, Access::Write).with_proc();
        let tool = Tool { permissions, ..Tool::new() };
        let run = block_on(async {
            let executions = agent_tool_registry::executor::Executions::new(timer());
            tool.call(&["execute", text(&alias.join("copy")), "0", text(&copy)], json!({}), &executions).await
        });
        assert_eq!(run.code(), "AK0534", "{run:?}");
        assert!(!copy.exists());
        fs::remove_file(alias).unwrap();
    }
}

#[test]
fn a_program_is_not_run_from_where_it_may_write_whatever_it_is_called() {
    let _alone = alone();
    let (tool, out) = Tool::new().granted("out", Access::Write);
    let (file, name) = (out.join("tool"), tool.folder().join("name"));
    fs::copy(&tool.program, &file).unwrap();
    symlink(&file, &name).unwrap();
    for program in [file, name] {
        let tool = Tool { program, permissions: tool.permissions.clone(), ..Tool::new() };
        let executions = agent_tool_registry::executor::Executions::new(timer());
        let run = block_on(tool.call(&["hello"], json!({}), &executions));
        assert_eq!(run.code(), "AK0534", "{run:?}");
    }
}

#[test]
fn a_folder_within_another_is_granted_as_it_says() {
    let _alone = alone();
    let (tool, outer) = Tool::new().granted("outer", Access::Read);
    let (inner, secret) = (outer.join("inner"), outer.join("f"));
    fs::create_dir(&inner).unwrap();
    fs::write(&secret, "readable").unwrap();
    let tool = Tool { permissions: tool.permissions.clone().folder(&inner, Access::Write), ..tool };
    let open = |path: &Path| format!("'{}", text(path));
    let found = results(
        &tool,
        &[
            (libc::SYS_open, &[&open(&secret), "0"]),
            (libc::SYS_open, &[&open(&secret), "1"]),
            (libc::SYS_open, &[&open(&outer.join("new")), "0x41", "0x180"]),
            (libc::SYS_open, &[&open(&inner.join("new")), "0x41", "0x180"]),
            // A file made where that is allowed does not become one where it is not.
            (libc::SYS_rename, &[&open(&inner.join("new")), &open(&outer.join("new"))]),
            (libc::SYS_rename, &[&open(&secret), &open(&inner.join("f"))]),
            (libc::SYS_rename, &[&open(&inner), &open(&outer.join("moved"))]),
        ],
    );
    assert_eq!(found[0], 3);
    assert_eq!(found[3], 4);
    for index in [1, 2, 4, 5, 6] {
        assert!(found[index] < 0, "{index}: {found:?}");
    }
}

/// What a link that somebody puts in the place of what was granted gets them.
#[test]
fn a_grant_that_has_become_a_link_is_refused() {
    let tool = Tool::new();
    let place = tool.folder().join("place");
    let secrets = tool.folder().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("secret"), "secret").unwrap();
    let grant = place.join("data");
    let targets =
        [secrets.as_path(), Path::new("/etc"), Path::new("/etc/shadow"), Path::new("/"), Path::new("/proc")];
    for access in [Access::Read, Access::Write] {
        for target in targets {
            fs::create_dir_all(&grant).unwrap();
            let tool = Tool { permissions: Permissions::none().folder(&grant, access), ..Tool::new() };
            let executions = agent_tool_registry::executor::Executions::new(timer());
            let registry = tool.registry(&["read", text(&grant.join("secret")), text(&grant)]);
            // Registered with a folder, called with a link.
            fs::remove_dir(&grant).unwrap();
            symlink(target, &grant).unwrap();
            let arguments = agent_tool_registry::Arguments::from_value(json!({})).unwrap();
            let invocation = registry.prepare(&"t".parse().unwrap(), arguments).unwrap();
            let cx = agent_tool_registry::CallContext::new(crate::host::agent(), timer());
            let error = block_on(invocation.run(cx.with_executions(executions))).unwrap_err();
            assert_eq!(error.code(), "AK0534", "{target:?}: {error:?}");
            assert!(!error.to_string().contains("place"), "{error}");
            fs::remove_file(&grant).unwrap();
        }
    }
    // The same one level up.
    fs::remove_dir(&place).unwrap();
    symlink(&secrets, &place).unwrap();
    let tool =
        Tool { permissions: Permissions::none().folder(place.join("secret"), Access::Read), ..Tool::new() };
    let executions = agent_tool_registry::executor::Executions::new(timer());
    let run = block_on(tool.call(&["read", text(&place.join("secret"))], json!({}), &executions));
    assert_eq!(run.code(), "AK0534", "{run:?}");
}

#[test]
fn what_is_no_file_and_no_folder_is_not_granted() {
    let _alone = alone();
    let tool = Tool::new();
    let socket = tool.folder().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let fifo = tool.folder().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for path in [socket, fifo, tool.folder().join("missing"), tool.folder().join("tool/beneath")] {
        let permissions =
            Permissions { folders: vec![FolderGrant { path, access: Access::Read }], proc: false };
        let tool = Tool { permissions, ..Tool::new() };
        let executions = agent_tool_registry::executor::Executions::new(timer());
        let run = block_on(tool.call(&["hello"], json!({}), &executions));
        assert_eq!(run.code(), "AK0534", "{run:?}");
    }
}

#[test]
fn programs_of_the_system_run_as_they_do_elsewhere() {
    let _alone = alone();
    let mut tool = Tool::new();
    let (with_input, input) = tool.granted("input", Access::Read);
    tool = with_input;
    File::create(input.join("b")).unwrap();
    File::create(input.join("a")).unwrap();
    let system = Permissions::system();
    tool.permissions.folders.extend(system.folders);
    let script = r#"
        set -e
        cd /scratch; mkdir d; echo one > d/f; cp -p d/f d/g; mv d/g d/h; ln -s f d/l; chmod 600 d/h
        [ "$(cat d/h d/l | sort | uniq -c | awk '{print $1}')" = 2 ]
        [ "$(ls -l "$INPUT" | tail -n +2 | wc -l)" = 2 ]
        [ "$(find d -type f | wc -l)" = 2 ]
        head -c 100000 /dev/urandom > x; gzip -c x | gunzip -c | cmp - x
        tar cf - d | tar tf - > /dev/null
        date > /dev/null; sleep 0.01; (sleep 0.01 & wait)
        printf '"%s %s"' "$(id -u)" "$(ls -a / | tr '\n' ' ')"
    "#;
    let program = std::mem::replace(&mut tool.program, "/bin/sh".into());
    let script = script.replace("$INPUT", text(&input));
    let executions = agent_tool_registry::executor::Executions::new(timer());
    let found = block_on(tool.call(&["-c", &script], json!({}), &executions));
    if let Err(error) = &found.result {
        panic!("{error}: {:?}", error.host_detail());
    }
    // The root cannot be listed; what is granted can.
    assert_eq!(found.value(), json!("65534 "));
    assert!(program.exists());
}
