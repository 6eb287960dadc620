use std::collections::BTreeMap;

use replication::checkpoint::CheckpointIdentity;
use replication::checkpoint::file::Encoder;
use replication::ids::Term;
use replication::link::hello::DirectoryId;
use replication::version::Version;

use super::*;

struct Files(BTreeMap<String, Vec<u8>>);

struct File(Vec<u8>);

impl CheckpointDirectory for Files {
    type Source = File;

    fn open(&self, name: &str) -> Result<File, String> {
        self.0.get(name).cloned().map(File).ok_or("no such file".into())
    }
}

impl CheckpointSource for File {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok(self.0.len() as u64)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let start = offset as usize;
        into.copy_from_slice(self.0.get(start..start + into.len()).ok_or("past the end")?);
        Ok(())
    }
}

const IDENTITY: Identity = Identity {
    election_timeout_ms: 0,
    cluster: 7,
    node: 1,
    shards: 1,
    founded: Version(1),
    voters: Vec::new(),
    directory: DirectoryId([1; 16]),
    met: BTreeMap::new(),
    addresses: BTreeMap::new(),
    epoch: 0,
    lost: Vec::new(),
};
const NAME: &str = "0000-0000000000000009.ckpt";

/// Loads a file whose checksums all hold.
fn load(contents: &[u8], blocks: &[&[u8]]) -> LoadedShard {
    let identity = CheckpointIdentity {
        cluster: 7,
        node: 1,
        shard: ShardId(0),
        index: Index(9),
        term: Term(1),
        stamp: 1,
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::begin(&identity, None, contents, &mut bytes);
    blocks.iter().for_each(|block| encoder.block(block, &mut bytes));
    encoder.end(&mut bytes);
    let names = [(NAME.to_owned(), bytes.len() as u64)];
    let (settings, hasher) = (Settings::default(), Hasher64::new([1, 2, 3, 4]));
    let plan = LoadPlan {
        identity: &IDENTITY,
        settings: &settings,
        hasher: &hasher,
        names: &names,
        applied: Versions::OWN,
    };
    plan.load(&Files(BTreeMap::from([(NAME.to_owned(), bytes)])), ShardId(0)).unwrap()
}

fn keys(count: u64) -> Vec<u8> {
    let mut contents = Contents::default();
    contents.keys[0] = count;
    contents.encode()
}

/// A string as `FORMAT.md` of the engine's checkpoints has it: kind, database, key, content.
const KEY_A: &[u8] = b"\x01\x00\x01a\x01v";
const KEY_B: &[u8] = b"\x01\x00\x01b\x01v";

#[test]
fn a_whole_file_is_loaded() {
    let loaded = load(&keys(2), &[KEY_A, KEY_B]);
    assert_eq!(loaded.base.index, 9);
    assert_eq!(loaded.shard.unwrap().database(0).len(), 2);
}

#[test]
fn what_a_whole_file_holds_wrongly_is_said_with_its_block() {
    // The first block begins behind the header's page. One of six bytes is stored as it is, behind
    // a header of 24.
    let (first, second) = (4096, 4096 + 24 + 6);
    /// Contents, blocks; the block that is wrong, where it begins, and what is said of it.
    type Case<'a> = (&'a [u8], &'a [&'a [u8]], u64, u64, &'a str);
    let cases: [Case<'_>; 5] = [
        (b"\x09", &[], 0, 0, "version 9"),
        (&keys(2), &[KEY_A, b"\x3f"], 2, second, "unknown kind"),
        (&keys(2), &[KEY_A, KEY_A], 2, second, "a key stands twice"),
        (&keys(1), &[b"\x01\x10\x01a\x01v", KEY_A], 1, first, "no such database"),
        (&keys(3), &[KEY_A, KEY_B], 2, second, "keys are missing"),
    ];
    for (contents, blocks, block, at, what) in cases {
        let loaded = load(contents, blocks);
        assert!(loaded.shard.is_none(), "{what}");
        let [(name, error)] = &loaded.decision.damaged[..] else { panic!("{what}: one file") };
        assert_eq!(name, NAME);
        let FileError::Contents { block: said, offset, message } = error else {
            panic!("{what}: {error}")
        };
        assert_eq!((*said, *offset), (block, at), "{what}");
        assert!(message.contains(what), "{message}");
        assert!(error.to_string().contains(&format!("block {block} at byte {at} ")), "{error}");
    }
}
