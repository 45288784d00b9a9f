//! Images made here, of a static shell and a static probe. No registry is asked for anything.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::StreamExt;

const PROBE: &str = include_str!("probe.c");
const BUSYBOX: [&str; 12] =
    ["sh", "cat", "ls", "id", "echo", "sleep", "env", "chmod", "chown", "touch", "nslookup", "yes"];

/// The image that most tests run, by id.
pub(crate) async fn probe(raw: &Docker) -> String {
    let version = PROBE.bytes().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte));
    let tag = format!("{version:016x}");
    import(raw, "agent-os-probe", &tag, &[]).await
}

/// The same with changes to its configuration, in the words of a Dockerfile.
pub(crate) async fn import(raw: &Docker, name: &str, tag: &str, changes: &[&str]) -> String {
    if let Ok(image) = raw.inspect_image(&format!("{name}:{tag}")).await {
        return image.id.unwrap();
    }
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag(tag);
    let options = options.changes(changes.iter().map(|change| (*change).to_owned()).collect()).build();
    let body = bollard::body_full(Bytes::from(archive()));
    let mut progress = Box::pin(raw.create_image(Some(options), Some(body), None));
    while let Some(step) = progress.next().await {
        step.unwrap();
    }
    raw.inspect_image(&format!("{name}:{tag}")).await.unwrap().id.unwrap()
}

fn archive() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join("root").join(name);
    for folder in ["bin", "tmp", "etc"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    fs::copy(busybox(), path("bin/busybox")).unwrap();
    for applet in BUSYBOX {
        symlink("busybox", path("bin").join(applet)).unwrap();
    }
    compile(&dir.path().join("probe.c"), &path("bin/probe"));
    for (name, mode) in [("bin/probe", 0o755), ("bin/setuid", 0o4755), ("bin/plain", 0o644)] {
        if name != "bin/probe" {
            fs::copy(path("bin/probe"), path(name)).unwrap();
        }
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(path("bin/other-machine"), foreign()).unwrap();
    fs::set_permissions(path("bin/other-machine"), fs::Permissions::from_mode(0o755)).unwrap();
    let tar = Command::new("tar")
        .args(["--owner=0", "--group=0", "-cf", "-", "-C"])
        .arg(path(""))
        .arg(".")
        .output();
    let tar = tar.unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}

fn busybox() -> &'static Path {
    let path = Path::new("/usr/bin/busybox");
    let found = if path.is_file() { path } else { Path::new("/bin/busybox") };
    assert!(found.is_file(), "this test needs a static busybox, which is not here; install busybox-static");
    found
}

fn compile(source: &Path, program: &Path) {
    fs::write(source, PROBE).unwrap();
    let made = Command::new("cc").args(["-static", "-O1", "-o"]).arg(program).arg(source).output();
    let made = made.expect("this test needs `cc`, which is not here; install gcc and libc6-dev");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The beginning of a program for another processor.
fn foreign() -> Vec<u8> {
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend_from_slice(&[2, 0, 0x16, 0, 1, 0, 0, 0]);
    header.resize(120, 0);
    header
}
