//! Containers, of an image with nothing but a shell, which is made here.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use agent_control_plane::atr::executor::Docker;
use agent_control_plane::atr::{Executors, Level};

use crate::daemon;
use crate::place::Place;

/// How often a busy daemon is asked again.
const PATIENCE: usize = 15;

pub(crate) fn place(like: &Place) -> Place {
    let socket = daemon::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A daemon that many tests use at once may take longer than a connection waits for it.
    let connected = (0..PATIENCE).find_map(|_| runtime.block_on(Docker::connect(socket)).ok());
    let docker = connected.unwrap_or_else(|| runtime.block_on(Docker::connect(socket)).unwrap());
    Place::elsewhere(like, Level::Container, Executors::none().with(docker)).of_image(image(socket))
}

/// The id of the image. Made of the same content it is the same one each time, but for the time that it was made at.
fn image(socket: &Path) -> String {
    const TAG: &str = "repo=agent-os-shell&tag=1";
    let found = ask(socket, "GET /images/agent-os-shell:1/json", &[]);
    let answer = match found.split_once("\"Id\":\"") {
        Some((_, found)) => found.to_owned(),
        None => {
            let made = ask(socket, &format!("POST /images/create?fromSrc=-&{TAG}"), &archive());
            let (_, id) = made.split_once("\"status\":\"").unwrap();
            id.to_owned()
        }
    };
    answer.split('"').next().unwrap().to_owned()
}

/// Asks the daemon once, and answers with what it says.
fn ask(socket: &Path, request: &str, body: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.0\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn archive() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::copy("/usr/bin/busybox", root.join("usr/bin/busybox")).unwrap();
    let tar =
        Command::new("tar").args(["--owner=0", "--group=0", "-cf", "-", "-C"]).arg(root).arg(".").output();
    let tar = tar.unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}
