//! Descriptors: numbers that lead to open files.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_control_plane::vfs::{
    Access, Descriptor, MAX_OPEN, MAX_TRANSFER, Memory, Mount, Namespace, OpenFlags, Quota, VfsError,
    VfsPath, WriteMode,
};
use agent_primitives::LabelSet;
use bytes::Bytes;

const QUOTA: Quota = Quota { bytes: 64 << 20, files: 2000 };
const NONE: OpenFlags =
    OpenFlags { read: false, write: false, append: false, create: false, exclusive: false };
const READ: OpenFlags = OpenFlags { read: true, ..NONE };
const WRITE: OpenFlags = OpenFlags { write: true, create: true, ..NONE };
const BOTH: OpenFlags = OpenFlags { read: true, ..WRITE };
const APPEND: OpenFlags = OpenFlags { append: true, create: true, ..NONE };

fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

fn namespace() -> Namespace {
    let namespace = Namespace::new();
    let mount = Mount::new(path("/m"), Arc::new(Memory::new()), Access::ReadWrite(QUOTA));
    namespace.mount(mount).unwrap();
    namespace
}

async fn open(namespace: &Namespace, at: &str, flags: OpenFlags) -> Result<Descriptor, VfsError> {
    namespace.open(&path(at), flags, LabelSet::EMPTY).await.map_err(|error| error.error())
}

async fn write(namespace: &Namespace, to: Descriptor, at: Option<u64>, text: &str) -> Result<u64, VfsError> {
    let data = Bytes::copy_from_slice(text.as_bytes());
    namespace
        .write_open(to, at, data, LabelSet::EMPTY)
        .await
        .map(|written| written.size)
        .map_err(|error| error.error())
}

async fn read(
    namespace: &Namespace,
    from: Descriptor,
    at: Option<u64>,
    length: u64,
) -> Result<String, VfsError> {
    let read = namespace.read_open(from, at, length).await.map_err(|error| error.error())?;
    Ok(String::from_utf8(read.bytes.to_vec()).unwrap())
}

async fn text(namespace: &Namespace, at: &str) -> String {
    let read = namespace.read(&path(at), 0, MAX_TRANSFER).await.unwrap();
    String::from_utf8(read.bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn flags_that_make_no_sense_together_are_refused() {
    let namespace = namespace();
    for flags in [
        NONE,
        OpenFlags { create: true, ..NONE },
        OpenFlags { create: true, ..READ },
        OpenFlags { exclusive: true, ..READ },
        OpenFlags { write: true, exclusive: true, ..NONE },
    ] {
        assert_eq!(open(&namespace, "/m/f", flags).await, Err(VfsError::InvalidPath), "{flags:?}");
    }
    assert_eq!(text(&namespace, "/m").await, "");
}

#[tokio::test]
async fn opening_creates_only_when_asked_to() {
    let namespace = namespace();
    let exclusive = OpenFlags { exclusive: true, ..WRITE };
    assert_eq!(open(&namespace, "/m/f", READ).await, Err(VfsError::NotFound));
    assert_eq!(open(&namespace, "/m/f", OpenFlags { create: false, ..WRITE }).await, Err(VfsError::NotFound));
    assert_eq!(text(&namespace, "/m").await, "");
    open(&namespace, "/m/f", exclusive).await.unwrap();
    assert_eq!(text(&namespace, "/m/f").await, "");
    assert_eq!(open(&namespace, "/m/f", exclusive).await, Err(VfsError::Exists));
    let again = open(&namespace, "/m/f", BOTH).await.unwrap();
    write(&namespace, again, None, "kept").await.unwrap();
    open(&namespace, "/m/f", BOTH).await.unwrap();
    assert_eq!(text(&namespace, "/m/f").await, "kept");
}

#[tokio::test]
async fn a_descriptor_does_only_what_it_was_opened_for() {
    let namespace = namespace();
    for flags in [WRITE, APPEND] {
        let writer = open(&namespace, "/m/f", flags).await.unwrap();
        assert_eq!(read(&namespace, writer, None, 1).await, Err(VfsError::BadDescriptor));
        assert_eq!(read(&namespace, writer, Some(0), 1).await, Err(VfsError::BadDescriptor));
    }
    let reader = open(&namespace, "/m/f", READ).await.unwrap();
    assert_eq!(write(&namespace, reader, None, "x").await, Err(VfsError::BadDescriptor));
    assert_eq!(write(&namespace, reader, Some(0), "x").await, Err(VfsError::BadDescriptor));
    assert_eq!(text(&namespace, "/m/f").await, "");
}

#[tokio::test]
async fn a_directory_opens_for_reading_only() {
    let namespace = namespace();
    let file = open(&namespace, "/m/d/f", WRITE).await.unwrap();
    write(&namespace, file, None, "123").await.unwrap();
    for at in ["/", "/m", "/m/d"] {
        for flags in [WRITE, APPEND, BOTH, OpenFlags { create: false, ..WRITE }] {
            assert_eq!(open(&namespace, at, flags).await, Err(VfsError::IsDirectory), "{at}");
        }
    }
    let directory = open(&namespace, "/m/d", READ).await.unwrap();
    let line = "{\"name\":\"f\",\"kind\":\"file\",\"size\":3}\n";
    let first = read(&namespace, directory, None, 5).await.unwrap();
    assert_eq!(first + &read(&namespace, directory, None, 500).await.unwrap(), line);
    assert_eq!(read(&namespace, directory, None, 500).await.unwrap(), "");
}

#[tokio::test]
async fn reads_and_writes_move_the_position_and_those_at_an_offset_do_not() {
    let namespace = namespace();
    let file = open(&namespace, "/m/f", BOTH).await.unwrap();
    assert_eq!(write(&namespace, file, None, "hello ").await, Ok(6));
    assert_eq!(write(&namespace, file, None, "world").await, Ok(11));
    assert_eq!(write(&namespace, file, Some(0), "J").await, Ok(11));
    assert_eq!(write(&namespace, file, None, "!").await, Ok(12));
    let reader = open(&namespace, "/m/f", READ).await.unwrap();
    assert_eq!(read(&namespace, reader, None, 5).await.unwrap(), "Jello");
    assert_eq!(read(&namespace, reader, Some(0), 5).await.unwrap(), "Jello");
    assert_eq!(read(&namespace, reader, None, 100).await.unwrap(), " world!");
    assert_eq!(read(&namespace, reader, None, 100).await.unwrap(), "");
}

#[tokio::test]
async fn writing_in_the_middle_keeps_the_rest() {
    for (offset, data, expected) in [
        (0, "AB", "ABcdef"),
        (2, "XY", "abXYef"),
        (4, "XYZ", "abcdXYZ"),
        (6, "Z", "abcdefZ"),
        (8, "Z", "abcdef\0\0Z"),
        (0, "0123456789", "0123456789"),
        (3, "", "abcdef"),
        (900, "", "abcdef"),
    ] {
        let namespace = namespace();
        let file = open(&namespace, "/m/f", BOTH).await.unwrap();
        write(&namespace, file, None, "abcdef").await.unwrap();
        assert_eq!(
            write(&namespace, file, Some(offset), data).await,
            Ok(expected.len() as u64),
            "{offset} {data}"
        );
        assert_eq!(text(&namespace, "/m/f").await, expected, "{offset} {data}");
    }
}

#[tokio::test]
async fn a_file_grows_long_only_at_its_end() {
    let namespace = namespace();
    let file = open(&namespace, "/m/f", BOTH).await.unwrap();
    for offset in [MAX_TRANSFER, u64::MAX] {
        assert_eq!(write(&namespace, file, Some(offset), "x").await, Err(VfsError::TooLarge));
    }
    assert_eq!(write(&namespace, file, Some(MAX_TRANSFER - 1), "x").await, Ok(MAX_TRANSFER));
    assert_eq!(write(&namespace, file, Some(MAX_TRANSFER), "y").await, Ok(MAX_TRANSFER + 1));
    assert_eq!(write(&namespace, file, Some(0), "z").await, Err(VfsError::TooLarge));
    assert_eq!(read(&namespace, file, Some(MAX_TRANSFER - 1), 10).await.unwrap(), "xy");
}

#[tokio::test]
async fn appending_ignores_the_position() {
    let namespace = namespace();
    let file = open(&namespace, "/m/f", APPEND).await.unwrap();
    write(&namespace, file, None, "one").await.unwrap();
    write(&namespace, file, Some(0), " two").await.unwrap();
    let other = open(&namespace, "/m/f", OpenFlags { write: true, ..APPEND }).await.unwrap();
    write(&namespace, other, Some(0), " three").await.unwrap();
    assert_eq!(text(&namespace, "/m/f").await, "one two three");
}

#[tokio::test]
async fn a_removed_file_is_gone_for_its_descriptors() {
    let namespace = namespace();
    let file = open(&namespace, "/m/f", BOTH).await.unwrap();
    namespace.remove(&path("/m/f"), None).await.unwrap();
    assert_eq!(read(&namespace, file, None, 1).await, Err(VfsError::NotFound));
    assert_eq!(write(&namespace, file, None, "x").await, Err(VfsError::NotFound));
}

#[tokio::test]
async fn a_mount_taken_away_is_gone_for_its_descriptors() {
    let namespace = namespace();
    let file = open(&namespace, "/m/f", BOTH).await.unwrap();
    namespace.unmount(&path("/m")).unwrap();
    assert_eq!(write(&namespace, file, None, "x").await, Err(VfsError::NotFound));
    let store = Mount::new(path("/m"), Arc::new(Memory::new()), Access::ReadOnly);
    namespace.mount(store).unwrap();
    let append = namespace.write_open(file, None, Bytes::from_static(b"x"), LabelSet::EMPTY).await;
    assert_eq!(append.unwrap_err().error(), VfsError::NotFound);
}

#[tokio::test]
async fn a_mount_made_read_only_stops_descriptors_that_write() {
    let namespace = Namespace::new();
    let store = Arc::new(Memory::new());
    let mount = |access| Mount::new(path("/m"), Arc::<Memory>::clone(&store), access);
    namespace.mount(mount(Access::ReadWrite(QUOTA))).unwrap();
    let writer = open(&namespace, "/m/f", WRITE).await.unwrap();
    let appender = open(&namespace, "/m/f", APPEND).await.unwrap();
    namespace.unmount(&path("/m")).unwrap();
    namespace.mount(mount(Access::ReadOnly)).unwrap();
    assert_eq!(write(&namespace, writer, None, "x").await, Err(VfsError::ReadOnly));
    assert_eq!(write(&namespace, appender, None, "x").await, Err(VfsError::ReadOnly));
}

#[tokio::test]
async fn a_closed_number_never_comes_back() {
    let namespace = namespace();
    open(&namespace, "/m/f", WRITE).await.unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2000 {
        let file = open(&namespace, "/m/f", READ).await.unwrap();
        assert!(seen.insert(file));
        namespace.close(file).unwrap();
        assert_eq!(namespace.close(file).unwrap_err().error(), VfsError::BadDescriptor);
        assert_eq!(read(&namespace, file, None, 1).await, Err(VfsError::BadDescriptor));
    }
}

#[tokio::test]
async fn a_number_made_up_or_borrowed_leads_nowhere() {
    let (mine, other) = (namespace(), namespace());
    let file = open(&mine, "/m/f", BOTH).await.unwrap();
    for raw in [0, 1, 1023, 1024, u32::MAX, file.as_raw()] {
        let made_up = Descriptor::from_raw(raw);
        assert_eq!(read(&other, made_up, None, 1).await, Err(VfsError::BadDescriptor), "{raw}");
        assert_eq!(write(&other, made_up, None, "x").await, Err(VfsError::BadDescriptor), "{raw}");
        assert_eq!(other.close(made_up).unwrap_err().error(), VfsError::BadDescriptor, "{raw}");
        assert!(other.opened(made_up).is_err(), "{raw}");
    }
    assert_eq!(mine.opened(file), Ok((path("/m/f"), BOTH)));
}

#[tokio::test]
async fn open_descriptors_are_bounded_and_a_full_table_creates_nothing() {
    let namespace = namespace();
    let mut open_files = Vec::new();
    for _ in 0..MAX_OPEN {
        open_files.push(open(&namespace, "/m/f", WRITE).await.unwrap());
    }
    assert_eq!(open(&namespace, "/m/new", WRITE).await, Err(VfsError::TooManyOpen));
    assert_eq!(namespace.stat(&path("/m/new")).await.unwrap_err().error(), VfsError::NotFound);
    namespace.close(open_files[500]).unwrap();
    open(&namespace, "/m/new", WRITE).await.unwrap();
    assert_eq!(namespace.close_all(), MAX_OPEN);
    assert_eq!(namespace.close_all(), 0);
    assert_eq!(write(&namespace, open_files[0], None, "x").await, Err(VfsError::BadDescriptor));
    open(&namespace, "/m/f", READ).await.unwrap();
}

#[tokio::test]
async fn an_open_that_fails_gives_its_room_back() {
    let namespace = namespace();
    for _ in 0..=MAX_OPEN {
        assert_eq!(open(&namespace, "/m/none", READ).await, Err(VfsError::NotFound));
    }
    open(&namespace, "/m/f", WRITE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_position_of_one_descriptor_follow_each_other() {
    let namespace = Arc::new(namespace());
    let file = open(&namespace, "/m/f", WRITE).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let namespace = Arc::clone(&namespace);
            tokio::spawn(async move {
                for _ in 0..25 {
                    write(&namespace, file, None, &writer.to_string().repeat(4)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let text = text(&namespace, "/m/f").await;
    assert_eq!(text.len(), 8 * 25 * 4);
    for record in text.as_bytes().chunks(4) {
        assert!(record.iter().all(|byte| byte == &record[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_different_places_lose_nothing_to_each_other() {
    let namespace = Arc::new(namespace());
    namespace
        .write(&path("/m/f"), WriteMode::Replace, Bytes::from(vec![0; 4]), LabelSet::EMPTY, None)
        .await
        .unwrap();
    let writers: Vec<_> = (0..4_u8)
        .map(|place| {
            let namespace = Arc::clone(&namespace);
            tokio::spawn(async move {
                let file = open(&namespace, "/m/f", WRITE).await.unwrap();
                for round in 1..=50 {
                    let data = Bytes::from(vec![round]);
                    // Others may keep changing the file; that is answered, never papered over.
                    while let Err(error) =
                        namespace.write_open(file, Some(place.into()), data.clone(), LabelSet::EMPTY).await
                    {
                        assert_eq!(error.error(), VfsError::Conflict);
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(namespace.read(&path("/m/f"), 0, 10).await.unwrap().bytes.as_ref(), [50; 4]);
}

#[tokio::test]
async fn labels_follow_the_data_through_descriptors() {
    let namespace = namespace();
    let set = |words: &[&str]| LabelSet::new(words.iter().map(|word| word.parse().unwrap())).unwrap();
    let write = async |file, offset, label: &str| {
        let data = Bytes::from_static(b"xy");
        namespace.write_open(file, offset, data, set(&[label])).await.unwrap().labels
    };
    // The name of a file comes from whoever creates it; opening one that exists changes nothing.
    let file = namespace.open(&path("/m/f"), BOTH, set(&["own:name"])).await.unwrap();
    namespace.open(&path("/m/f"), BOTH, set(&["own:other"])).await.unwrap();
    assert_eq!(namespace.read_open(file, Some(0), 9).await.unwrap().labels, set(&["own:name"]));
    // At the end, over all there is, in the middle, beyond a gap, and at the position: no label goes.
    assert_eq!(write(file, Some(0), "own:a").await, set(&["own:a", "own:name"]));
    assert_eq!(write(file, Some(0), "own:b").await, set(&["own:a", "own:b", "own:name"]));
    assert_eq!(write(file, Some(1), "own:a").await, set(&["own:a", "own:b", "own:name"]));
    assert_eq!(write(file, Some(9), "own:c").await, set(&["own:a", "own:b", "own:c", "own:name"]));
    write(file, None, "own:d").await;
    let append = namespace.open(&path("/m/f"), APPEND, LabelSet::EMPTY).await.unwrap();
    write(append, Some(0), "own:e").await;
    let all = set(&["own:a", "own:b", "own:c", "own:d", "own:e", "own:name"]);
    assert_eq!(namespace.read_open(file, None, 1).await.unwrap().labels, all);
    // Writing nothing adds nothing.
    namespace.write_open(file, Some(0), Bytes::new(), set(&["own:f"])).await.unwrap();
    assert_eq!(namespace.stat(&path("/m/f")).await.unwrap().labels, all);
}
