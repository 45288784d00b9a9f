//! Arguments that name files stay beneath their root.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::panic, reason = "a test may fail loudly")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use agent_primitives::ToolId;
use agent_tool_registry::{Arguments, MAX_PATH, PathRoot, Registry, RegistryError, ToolError};
use serde_json::{Value, json};

/// A root with a file, a directory, and links of every kind; outside of it a file and a sibling with a longer name.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    fs::create_dir_all(root.join("sub/deeper")).unwrap();
    fs::create_dir(dir.path().join("data-secret")).unwrap();
    for file in ["data/file", "data/sub/inner", "data-secret/key", "outside"] {
        fs::write(dir.path().join(file), "x").unwrap();
    }
    let links = [
        ("sub/inner", "to_inner"),
        ("sub", "to_sub"),
        ("../outside", "to_outside"),
        ("..", "to_parent"),
        ("sub/../../outside", "to_outside_by_detour"),
        ("/etc/hostname", "to_absolute"),
        ("sub/nothing", "to_nothing"),
        ("to_loop", "to_loop"),
        ("to_outside", "to_link_out"),
    ];
    for (target, name) in links {
        symlink(target, root.join(name)).unwrap();
    }
    dir
}

fn registry(dir: &Path, mounted_at: &str, must_exist: bool) -> Result<Registry, RegistryError> {
    let schema = json!({"type": "object", "properties": {"path": {}}});
    let root = PathRoot { mounted_at: mounted_at.to_owned(), host: dir.join("data"), must_exist };
    let mut builder = Registry::builder();
    builder
        .tool("t")
        .description("Test.")
        .path_argument("/path", root)
        .run_raw(schema, |_cx, _args| async { Ok(()) })?;
    Ok(builder.build())
}

fn judge(registry: &Registry, path: &Value) -> &'static str {
    let arguments = Arguments::from_value(json!({ "path": path })).unwrap();
    match registry.prepare(&"t".parse::<ToolId>().unwrap(), arguments) {
        Ok(_) => "ok",
        Err(ToolError::PathEscapes { .. }) => "escapes",
        Err(ToolError::PathMissing { .. }) => "missing",
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_path_stays_beneath_its_root_or_is_refused() {
    let dir = tree();
    let long = format!("/data/{}", "x".repeat(MAX_PATH));
    // The verdict on a file that must exist, and on one that need not.
    let cases = [
        ("/data/file", "ok", "ok"),
        ("/data", "ok", "ok"),
        ("/data/sub/inner", "ok", "ok"),
        ("/data/to_inner", "ok", "ok"),
        ("/data/to_sub/inner", "ok", "ok"),
        ("/data/new", "missing", "ok"),
        ("/data/new/newer/newest", "missing", "ok"),
        ("/data/to_sub/new", "missing", "ok"),
        ("/data/file/below", "missing", "missing"),
        ("/data/to_nothing", "missing", "escapes"),
        ("/data/to_nothing/new", "missing", "escapes"),
        ("/data/to_outside", "escapes", "escapes"),
        ("/data/to_link_out", "escapes", "escapes"),
        ("/data/to_parent/outside", "escapes", "escapes"),
        ("/data/to_parent/data/file", "escapes", "escapes"),
        ("/data/to_parent/new", "escapes", "escapes"),
        ("/data/to_outside_by_detour", "escapes", "escapes"),
        ("/data/to_absolute", "escapes", "escapes"),
        ("/data/to_loop", "escapes", "escapes"),
        ("/data-secret/key", "escapes", "escapes"),
        ("/data/../outside", "escapes", "escapes"),
        ("/data/sub/../file", "escapes", "escapes"),
        ("/data/./file", "escapes", "escapes"),
        ("/data//file", "escapes", "escapes"),
        ("/data/file/", "escapes", "escapes"),
        ("/data/file\0.txt", "escapes", "escapes"),
        ("data/file", "escapes", "escapes"),
        ("file", "escapes", "escapes"),
        ("/", "escapes", "escapes"),
        ("", "escapes", "escapes"),
        ("/etc/passwd", "escapes", "escapes"),
        (&*long, "escapes", "escapes"),
    ];
    let (strict, lenient) =
        (registry(dir.path(), "/data", true).unwrap(), registry(dir.path(), "/data", false).unwrap());
    for (path, expected_strict, expected_lenient) in cases {
        assert_eq!(judge(&strict, &json!(path)), expected_strict, "{path:?} must exist");
        assert_eq!(judge(&lenient, &json!(path)), expected_lenient, "{path:?} need not exist");
    }
}

#[test]
fn an_argument_that_is_absent_names_no_file_and_one_that_is_no_text_is_refused() {
    let dir = tree();
    let registry = registry(dir.path(), "/data", true).unwrap();
    assert_eq!(judge(&registry, &Value::Null), "ok");
    assert_eq!(judge(&registry, &json!(["/data/file"])), "escapes");
    let absent = registry.prepare(&"t".parse().unwrap(), Arguments::parse(b"{}").unwrap());
    assert!(absent.is_ok());
}

#[test]
fn a_root_may_be_mounted_anywhere() {
    let dir = tree();
    let at_root = registry(dir.path(), "/", true).unwrap();
    assert_eq!(judge(&at_root, &json!("/file")), "ok");
    assert_eq!(judge(&at_root, &json!("/to_outside")), "escapes");
    let deep = registry(dir.path(), "/a/b", true).unwrap();
    assert_eq!(judge(&deep, &json!("/a/b/file")), "ok");
    assert_eq!(judge(&deep, &json!("/a/file")), "escapes");
}

#[test]
fn a_refusal_says_nothing_about_the_host() {
    let dir = tree();
    let registry = registry(dir.path(), "/data", true).unwrap();
    for path in ["/data/to_outside", "/data/none"] {
        let arguments = Arguments::from_value(json!({ "path": path })).unwrap();
        let error = registry.prepare(&"t".parse().unwrap(), arguments).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(dir.path().to_str().unwrap()), "{error:?}");
    }
    let contract =
        serde_json::to_string(&**registry.snapshot().callable().next().unwrap().contract()).unwrap();
    assert!(contract.contains("/data") && !contract.contains(dir.path().to_str().unwrap()));
}

#[test]
fn a_root_that_cannot_be_used_is_refused_at_registration() {
    let dir = tree();
    for mount in ["data", "/data/", "/data/../x", ""] {
        assert!(
            matches!(registry(dir.path(), mount, true), Err(RegistryError::SpecInvalid { .. })),
            "{mount}"
        );
    }
    let nowhere = registry(&dir.path().join("none"), "/data", true);
    assert!(matches!(nowhere, Err(RegistryError::SpecInvalid { .. })));
}
