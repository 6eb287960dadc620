//! The directory in real files, as a start finds it: whose it is, its lock, and that what was
//! found on the simulator's disk is found here.

use std::path::Path;

use replication::link::hello::DirectoryId;
use replication::log::segment::file_name;
use server::runtime::disk::DataLock;
use server::startup::checkpoint_files;
use server::startup::identity::Identity;
use server::startup::recovery::recover_directory;

use super::image::{Ending, Image, SHARDS, State, hasher, state};
use super::map::{Kind, flips_thinned};
use crate::sim::disk::Disk;
use crate::sim::node::IDENTITY;

/// Writes the disk's files as a server would have.
fn write(directory: &Path, disk: &Disk) {
    let mut disk = disk.copy();
    for core in 0..disk.log_count() {
        let of_core = directory.join(format!("core-{core}"));
        std::fs::create_dir_all(&of_core).expect("a directory");
        for (number, bytes) in disk.log(core) {
            std::fs::write(of_core.join(file_name(*number)), bytes).expect("a segment");
        }
    }
    let checkpoints = directory.join(checkpoint_files::DIRECTORY);
    std::fs::create_dir_all(&checkpoints).expect("a directory");
    for (name, _) in disk.files.list() {
        std::fs::write(checkpoints.join(&name), disk.files.bytes_mut(&name)).expect("a file");
    }
}

/// A start as far as the data: what it finds, or why it is refused.
fn start(directory: &Path, image: &Image) -> Result<State, String> {
    let lock = DataLock::acquire(directory).map_err(|error| error.to_string())?;
    let identity = Identity::load_or_create(directory, SHARDS, None)?;
    let settings = image.config.engine_settings();
    let recovered = recover_directory(directory, &identity, &settings, hasher());
    drop(lock);
    recovered.map(|recovered| state(&recovered.shards)).map_err(|error| error.to_string())
}

/// A directory with the image in it, and its identity.
fn directory_of(image: &Image) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let (cluster, node) = (IDENTITY.cluster, IDENTITY.node);
    let directory_id = DirectoryId([3; 16]);
    let met = [(2, DirectoryId([4; 16]))].into();
    let voters = Vec::new();
    let identity = Identity {
        cluster,
        node,
        shards: SHARDS,
        voters,
        directory: directory_id,
        met,
        election_timeout_ms: 1000,
        ..Identity::default()
    };
    identity.create(directory.path()).expect("it is written");
    write(directory.path(), &image.disk);
    assert_eq!(start(directory.path(), image).expect("it is sound"), image.whole);
    directory
}

/// Every bit of it: what it says is needed to read everything else. Where it goes unnoticed it
/// says the same: in capital letters, or without the line that checks it.
#[test]
fn a_flip_in_the_identity_is_refused_or_harmless() {
    let image = Image::small(Ending::Stopped);
    let directory = directory_of(&image);
    let path = directory.path().join("node.toml");
    let sound = std::fs::read(&path).expect("it is there");
    let mut refused = 0;
    for bit in 0..sound.len() * 8 {
        let mut damaged = sound.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).expect("a file");
        match start(directory.path(), &image) {
            Ok(state) => assert_eq!(state, image.whole, "bit {bit}"),
            Err(text) => {
                assert!(text.contains("node.toml"), "bit {bit}: {text}");
                refused += 1;
            }
        }
    }
    assert!(refused > sound.len() * 6, "{refused} of {} bits were noticed", sound.len() * 8);
}

/// Who holds it is a matter of the system's; what stands in it is for a message.
#[test]
fn a_flip_in_the_lock_file_is_harmless() {
    let image = Image::small(Ending::Stopped);
    let directory = directory_of(&image);
    let path = directory.path().join("LOCK");
    let sound = std::fs::read(&path).expect("it is there");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).expect("a file");
        assert_eq!(start(directory.path(), &image).expect("it starts"), image.whole);
    }
}

/// Some of the flips of the simulator's disk.
#[test]
fn a_flip_in_a_real_file_is_found_as_on_the_simulators_disk() {
    let image = Image::small(Ending::Stopped);
    let (mut refused, mut harmless) = (0, 0);
    for flip in flips_thinned(&image, 509) {
        let directory = directory_of(&image);
        let mut disk = image.disk.copy();
        flip.apply(&mut disk);
        write(directory.path(), &disk);
        match start(directory.path(), &image) {
            Ok(state) => {
                assert!(!matches!(flip.kind, Kind::Needed { .. }), "{flip:?}");
                assert_eq!(state, image.whole, "{flip:?}");
                harmless += 1;
            }
            Err(text) => {
                let Kind::Needed { start } = flip.kind else { panic!("{flip:?}: {text}") };
                let says = format!("{} is corrupt at offset {start}:", flip.file.name());
                assert!(text.contains(&says), "{flip:?}: {text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 2 && harmless > 50, "{refused} and {harmless}");
}
